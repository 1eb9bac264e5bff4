"""Confirming a mail address: where the link of the letter leads, and asking for another letter."""

from __future__ import annotations

from imagineo import errors
from imagineo.v1 import account_service_pb2 as pb
from starlette.responses import Response

from services.gateway.credentials import SESSION_COOKIE
from services.gateway.dashboard.pages.entrance import token_sha256
from services.gateway.dashboard.visit import Visit


async def open_form(visit: Visit) -> Response:
    """Where the link leads; a script sends what stands behind its #."""
    return visit.page(
        "entrance/verify.html", token_value=visit.form.text("token"), is_refused=visit.problem is not None
    )


async def verify(visit: Visit) -> Response:
    """Take the link as the proof, in whichever browser it was opened."""
    asked = pb.VerifyEmailRequest(token_sha256=token_sha256(visit), client=visit.client())
    try:
        await visit.parts.peers.ask(visit.parts.peers.accounts.VerifyEmail, asked)
    except errors.NotFound as problem:
        message = "The link is unknown, used or expired. Log in to ask for a new one."
        raise errors.InvalidParameter(message, metadata={"param": "token"}) from problem
    return visit.go("/playground" if visit.token(SESSION_COOKIE) else "/login", "email-verified")


async def ask_again(visit: Visit) -> Response:
    """Have one more letter sent, unless there is nothing to confirm any more."""
    if not visit.who.is_verification_open:
        return visit.go("/settings/account")
    asked = pb.RequestVerificationRequest(session_sha256=visit.who.session_sha256, client=visit.client())
    await visit.parts.peers.ask(visit.parts.peers.accounts.RequestVerification, asked)
    return visit.go("/settings/account", "verification-sent")
