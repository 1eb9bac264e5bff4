"""Where an invitation's link leads: who invites, as what, and the form that accepts. Its token is posted only."""

from __future__ import annotations

from imagineo import errors, permissions
from imagineo.v1 import account_service_pb2 as pb
from starlette.responses import Response

from services.gateway.dashboard.pages.entrance import HASHING_S, entered, token_sha256
from services.gateway.dashboard.visit import Visit


async def open_form(visit: Visit) -> Response:
    """Takes the token from behind the # of the address; a script posts it at once."""
    return visit.page("invitation/open.html", token_value=visit.form.text("token"))


async def show(visit: Visit) -> Response:
    """The invitation of the posted token, and the form that accepts it."""
    try:
        sha256 = token_sha256(visit)
        found = await visit.parts.peers.ask(
            visit.parts.peers.accounts.GetInvitation, pb.GetInvitationRequest(token_sha256=sha256)
        )
    except (errors.InvalidParameter, errors.NotFound, errors.FailedPrecondition) as problem:
        visit.problem = problem
        visit.status = max(visit.status, 400)
        return visit.page("invitation/over.html")
    return visit.page(
        "invitation/show.html",
        invitation=found.invitation,
        role=permissions.ROLE_WORDS[found.invitation.role],
        is_known=found.is_known,
        token=visit.form.text("token"),
        name=visit.form.text("name"),
    )


async def accept(visit: Visit) -> Response:
    """Join, and log in."""
    asked = pb.AcceptInvitationRequest(
        token_sha256=token_sha256(visit),
        password=visit.form.raw("password"),
        name=visit.form.text("name"),
        client=visit.client(),
    )
    made = await visit.parts.peers.ask(visit.parts.peers.accounts.AcceptInvitation, asked, timeout_s=HASHING_S)
    return await entered(visit, made.token, "/playground?notice=joined")
