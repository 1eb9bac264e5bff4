"""`/v1/organization/members`: who belongs to the organization, and what they may do."""

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
    """The members, the earliest sign-up first."""
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor"))
    listing = pb.ListMembersRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
    )
    try:
        page = await parts.peers.ask(parts.peers.accounts.ListMembers, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    shown = [members.member(one) for one in page.members]
    return json_response({"members": shown, "next_cursor": page.next_page_token or None})


async def change(parts: Parts, request: Request) -> Response:
    """Give a member another role; their sessions feel it within 2 seconds."""
    role = members.read_role_change(await read_object(request))
    members.check_may_give(principal_of(request.scope), role)
    asked = pb.ChangeRoleRequest(
        organization_id=principal_of(request.scope).organization_id,
        user_id=_user_id(request),
        role=role,
        actor=actor_of(parts.settings, request),
    )
    changed = await parts.peers.ask(parts.peers.accounts.ChangeRole, asked)
    return json_response(members.member(changed.member))


async def remove(parts: Parts, request: Request) -> Response:
    """End a membership and the member's sessions."""
    principal = principal_of(request.scope)
    if principal.is_restricted:
        raise errors.PermissionDenied("A key with limits of its own (models, images, expiry) removes no members.")
    asked = pb.RemoveMemberRequest(
        organization_id=principal.organization_id, user_id=_user_id(request), actor=actor_of(parts.settings, request)
    )
    await parts.peers.ask(parts.peers.accounts.RemoveMember, asked)
    return Response(status_code=204)


def _user_id(request: Request) -> str:
    user_id = str(request.path_params["user_id"])
    if not is_id(user_id, "user"):
        raise errors.NotFound("There is no such member.")
    return user_id


LIST: Final = operation(
    "listMembers",
    "List the members of the organization, the earliest sign-up first.",
    {200: answer("One page.", shape("Members"))},
    refuses=[400],
    parameters=query.PAGE_PARAMETERS,
)
CHANGE: Final = operation(
    "changeMember",
    "Change a member's role. Only owners make or change owners; the last owner stays; nobody gives a role that may do "
    "more than they may themselves. Who may do less than before loses the keys that they could not make any more, and "
    "their open invitations.",
    {200: answer("The member as it is now.", shape("Member"))},
    refuses=[400, 404, 409, 413, 415],
    body=shape("RoleChange"),
    example={"role": "developer"},
)
REMOVE: Final = operation(
    "removeMember",
    "Remove a member: their sessions, and the keys that they made, are refused everywhere within 2 seconds; the audit "
    "log names those keys. Others stay; revoke those that they know.",
    {204: {"description": "No member any more.", "headers": {}}},
    refuses=[404, 409],
    path_values={"user_id": "$UNWANTED_USER_ID"},
)
