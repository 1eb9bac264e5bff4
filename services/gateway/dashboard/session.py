"""Who is logged in: the cookie's token to auth, the answer to the visit. And the cookies themselves."""

from __future__ import annotations

import asyncio
from typing import Final

from imagineo import errors, permissions, tokens
from imagineo.v1 import account_pb2, account_service_pb2, auth_service_pb2
from starlette.responses import Response

from services.gateway.credentials import SESSION_COOKIE, cookie_name
from services.gateway.dashboard.visit import Person, Visit
from services.gateway.exchange import exchange_of
from services.gateway.parts import Parts

#: What binds the forms of who is not logged in to their browser.
GUEST_COOKIE: Final = "imagineo_guest"
_MAX_AGE_S: Final = 30 * 86_400


async def person_of(visit: Visit, permission: account_pb2.Permission.ValueType) -> Person:
    """Who is logged in, let in for one page, which counts for them and not for their organization.

    Raises:
        InvalidSession: if nobody is, or not any more.
        PermissionDenied: if the role lacks the permission.
        RateLimited: if they loaded too many pages.
        Unavailable: if auth did not answer.
    """
    token = visit.token(SESSION_COOKIE)
    if not token:
        raise errors.InvalidSession
    peers = visit.parts.peers
    sha256 = tokens.digest(token)
    check = auth_service_pb2.Check(session_sha256=sha256, permission=permission, is_page=True)
    names = account_service_pb2.GetSessionRequest(session_sha256=sha256)
    verdicts, found = await asyncio.gather(
        peers.ask(peers.auth.Authorize, auth_service_pb2.AuthorizeRequest(checks=[check])),
        peers.ask(peers.accounts.GetSession, names),
    )
    verdict = verdicts.verdicts[0]
    if verdict.HasField("principal"):
        exchange_of(visit.request.scope).principal = verdict.principal
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
        is_verification_open=found.is_verification_open,
    )


def keep(parts: Parts, response: Response, cookie: str, token: str) -> None:
    """Put a token into the browser, out of reach of scripts and of other sites' forms."""
    name, is_secure = cookie_name(cookie, parts.settings.public_url), parts.settings.is_secure
    response.set_cookie(name, token, max_age=_MAX_AGE_S, httponly=True, samesite="lax", secure=is_secure, path="/")


def forget(parts: Parts, response: Response, cookie: str) -> None:
    """Take a token out of the browser."""
    name, is_secure = cookie_name(cookie, parts.settings.public_url), parts.settings.is_secure
    response.delete_cookie(name, httponly=True, samesite="lax", secure=is_secure, path="/")
