"""Who is logged in: the cookie's token to auth, the answer to the visit. And the cookies themselves."""

from __future__ import annotations

import asyncio
from typing import Final

from imagineo import errors, permissions, tokens
from imagineo.v1 import account_pb2, account_service_pb2, auth_service_pb2
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.credentials import SESSION_COOKIE
from services.gateway.dashboard.visit import Person
from services.gateway.exchange import exchange_of
from services.gateway.parts import Parts

#: What binds the forms of who is not logged in to their browser.
GUEST_COOKIE: Final = "imagineo_guest"
_MAX_AGE_S: Final = 30 * 86_400


def token_of(request: Request, cookie: str) -> str:
    """The token of a cookie; empty where there is none that could be one."""
    token = request.cookies.get(cookie, "")
    return token if tokens.is_well_formed(token) else ""


async def person_of(parts: Parts, request: Request, permission: account_pb2.Permission.ValueType) -> Person:
    """Who is logged in, let in for one page; nothing is counted.

    Raises:
        InvalidSession: if nobody is, or not any more.
        PermissionDenied: if the role lacks the permission.
        Unavailable: if auth did not answer.
    """
    token = token_of(request, SESSION_COOKIE)
    if not token:
        raise errors.InvalidSession
    sha256 = tokens.digest(token)
    check = auth_service_pb2.Check(session_sha256=sha256, permission=permission, is_uncounted=True)
    names = account_service_pb2.GetSessionRequest(session_sha256=sha256)
    verdicts, found = await asyncio.gather(
        parts.peers.ask(parts.peers.auth.Authorize, auth_service_pb2.AuthorizeRequest(checks=[check])),
        parts.peers.ask(parts.peers.accounts.GetSession, names),
    )
    verdict = verdicts.verdicts[0]
    if verdict.HasField("principal"):
        exchange_of(request.scope).principal = verdict.principal
    if verdict.HasField("error"):
        raise errors.from_detail(verdict.error)
    return _person(found, verdict.principal, sha256)


def _person(found: account_service_pb2.GetSessionResponse, principal: account_pb2.Principal, sha256: bytes) -> Person:
    memberships = tuple(found.memberships)
    own = next((one for one in memberships if one.organization_id == principal.organization_id), None)
    return Person(
        user=found.user,
        memberships=memberships,
        organization_id=principal.organization_id,
        organization_name=own.organization_name if own else "",
        role=permissions.ROLE_WORDS.get(principal.role, ""),
        session_id=found.session.session_id,
        session_sha256=sha256,
    )


def keep(response: Response, cookie: str, token: str, *, is_secure: bool) -> None:
    """Put a token into the browser, out of reach of scripts and of other sites' forms."""
    response.set_cookie(cookie, token, max_age=_MAX_AGE_S, httponly=True, samesite="lax", secure=is_secure, path="/")


def forget(response: Response, cookie: str, *, is_secure: bool) -> None:
    """Take a token out of the browser."""
    response.delete_cookie(cookie, httponly=True, samesite="lax", secure=is_secure, path="/")
