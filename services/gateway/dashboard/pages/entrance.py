"""Log-in, sign-up, log-out, password resets: the pages in front of the log-in. Tokens of links come in posted forms."""

from __future__ import annotations

import logging
from typing import Final

from imagineo import errors, tokens
from imagineo.v1 import account_service_pb2 as pb
from starlette.responses import Response

from services.gateway.credentials import SESSION_COOKIE
from services.gateway.dashboard import session
from services.gateway.dashboard.visit import Visit

log = logging.getLogger(__name__)

_HOME: Final = "/playground"
#: A password is hashed with care, behind others that are being hashed.
HASHING_S: Final = 10.0


async def home(visit: Visit) -> Response:
    """To work, or to the log-in."""
    return visit.go(_HOME if visit.token(SESSION_COOKIE) else "/login")


async def log_in_form(visit: Visit) -> Response:
    """The log-in."""
    return visit.page("entrance/login.html", email=visit.form.text("email"), next=_next(visit))


async def log_in(visit: Visit) -> Response:
    """Make a session."""
    asked = pb.LogInRequest(email=visit.form.text("email"), password=visit.form.raw("password"), client=visit.client())
    made = await visit.parts.peers.ask(visit.parts.peers.accounts.LogIn, asked, timeout_s=HASHING_S)
    return await entered(visit, made.token, _next(visit) or _HOME)


async def sign_up_form(visit: Visit) -> Response:
    """The sign-up."""
    typed = {name: visit.form.text(name) for name in ("name", "email", "organization_name")}
    return visit.page("entrance/signup.html", typed=typed, is_closed=visit.parts.settings.sign_up_closed)


async def sign_up(visit: Visit) -> Response:
    """Make a user and an organization, and log in."""
    asked = pb.SignUpRequest(
        email=visit.form.text("email"),
        password=visit.form.raw("password"),
        name=visit.form.text("name"),
        organization_name=visit.form.text("organization_name"),
        client=visit.client(),
    )
    made = await visit.parts.peers.ask(visit.parts.peers.accounts.SignUp, asked, timeout_s=HASHING_S)
    return await entered(visit, made.token, f"{_HOME}?notice=welcome")


async def log_out(visit: Visit) -> Response:
    """End the session, whether or not it was still good."""
    await _end_session(visit)
    response = visit.go("/login", "logged-out")
    session.forget(visit.parts, response, SESSION_COOKIE)
    return response


async def forgot_form(visit: Visit) -> Response:
    """Where a reset is asked for."""
    return visit.page("entrance/forgot.html", email=visit.form.text("email"), is_sent=False)


async def forgot(visit: Visit) -> Response:
    """Have a link mailed, if somebody has the address; the page is the same either way."""
    asked = pb.RequestPasswordResetRequest(email=visit.form.text("email"), client=visit.client())
    await visit.parts.peers.ask(visit.parts.peers.accounts.RequestPasswordReset, asked, timeout_s=HASHING_S)
    return visit.page("entrance/forgot.html", email=visit.form.text("email"), is_sent=True)


async def reset_form(visit: Visit) -> Response:
    """Where the link of the mail leads; its token stands behind the # and reaches no server or log by itself."""
    return visit.page("entrance/reset.html", token_value=visit.form.text("token"))


async def reset(visit: Visit) -> Response:
    """Set the new password."""
    asked = pb.ResetPasswordRequest(
        token_sha256=token_sha256(visit), new_password=visit.form.raw("new_password"), client=visit.client()
    )
    try:
        await visit.parts.peers.ask(visit.parts.peers.accounts.ResetPassword, asked, timeout_s=HASHING_S)
    except errors.NotFound as problem:
        message = "The link is unknown, used or expired. Ask for a new one."
        raise errors.InvalidParameter(message, metadata={"param": "token"}) from problem
    return visit.go("/login", "password-reset")


def token_sha256(visit: Visit) -> bytes:
    """The digest of the token that a form carries.

    Raises:
        InvalidParameter: if it cannot be one.
    """
    token = visit.form.text("token")
    if not tokens.is_well_formed(token):
        message = "The link is not whole. Open it again from the mail, or paste all of what stands behind its #."
        raise errors.InvalidParameter(message, metadata={"param": "token"})
    return tokens.digest(token)


async def entered(visit: Visit, token: str, path: str) -> Response:
    """On to a page with a new session, which takes the place of the one that the browser had."""
    try:
        await _end_session(visit)
    except errors.Unavailable:
        log.warning("the session before could not be ended; it will expire")
    response = visit.go(path)
    session.keep(visit.parts, response, SESSION_COOKIE, token)
    return response


async def _end_session(visit: Visit) -> None:
    if token := visit.token(SESSION_COOKIE):
        asked = pb.LogOutRequest(session_sha256=tokens.digest(token), client=visit.client())
        await visit.parts.peers.ask(visit.parts.peers.accounts.LogOut, asked)


def _next(visit: Visit) -> str:
    """Where to go after the log-in: a path of ours, never another site."""
    path = visit.form.text("next") or visit.asked("next")
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours else ""
