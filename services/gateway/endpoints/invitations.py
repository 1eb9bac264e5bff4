"""`/v1/organization/invitations`: links that let one person become a member, once."""

from __future__ import annotations

from typing import Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import account_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import members, query
from services.gateway.body import read_object
from services.gateway.clients import actor_of
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, shape


async def list_all(parts: Parts, request: Request) -> Response:
    """The invitations, newest first, those that are over included."""
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor"))
    listing = pb.ListInvitationsRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
    )
    try:
        page = await parts.peers.ask(parts.peers.accounts.ListInvitations, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    shown = [members.invitation(one, parts.now_s()) for one in page.invitations]
    return json_response({"invitations": shown, "next_cursor": page.next_page_token or None})


async def create(parts: Parts, request: Request) -> Response:
    """Make an invitation; its link is shown in this answer only."""
    email, role = members.read_invitation(await read_object(request))
    members.check_may_give(principal_of(request.scope), role)
    asked = pb.CreateInvitationRequest(
        organization_id=principal_of(request.scope).organization_id,
        email=email,
        role=role,
        actor=actor_of(parts.settings, request),
    )
    made = await parts.peers.ask(parts.peers.accounts.CreateInvitation, asked)
    link = f"{parts.public_url(request)}/invitation#{made.token}"
    shown = {**members.invitation(made.invitation, parts.now_s()), "link": link}
    return json_response(shown, headers={"Cache-Control": "no-store"})


async def revoke(parts: Parts, request: Request) -> Response:
    """End an invitation that was not accepted."""
    principal = principal_of(request.scope)
    invitation_id = str(request.path_params["invitation_id"])
    if not is_id(invitation_id, "inv"):
        raise errors.NotFound("There is no such invitation.")
    if principal.is_restricted:
        raise errors.PermissionDenied("A key with limits of its own (models, images, expiry) revokes no invitations.")
    asked = pb.RevokeInvitationRequest(
        organization_id=principal.organization_id,
        invitation_id=invitation_id,
        actor=actor_of(parts.settings, request),
    )
    await parts.peers.ask(parts.peers.accounts.RevokeInvitation, asked)
    return Response(status_code=204)


LIST: Final = operation(
    "listInvitations",
    "List the invitations, newest first, those that are over included; links are not among what is shown.",
    {200: answer("One page.", shape("Invitations"))},
    refuses=[400],
    parameters=query.PAGE_PARAMETERS,
)
CREATE: Final = operation(
    "createInvitation",
    "Invite somebody by a link that works once, for 7 days. It is shown in this answer only, and mailed where the "
    "platform sends mail. An open invitation of the same address is revoked.",
    {200: answer("The invitation with its link.", shape("NewInvitation"), headers=["Cache-Control"])},
    refuses=[400, 409, 413, 415],
    body=shape("InvitationRequest"),
    example={"email": "colleague@example.org", "role": "viewer"},
)
REVOKE: Final = operation(
    "revokeInvitation",
    "Revoke an invitation that was not accepted. Idempotent.",
    {204: {"description": "Its link works no more.", "headers": {}}},
    refuses=[404, 409],
)
