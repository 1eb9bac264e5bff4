"""What a request shows to be let in: an API key, or the cookie of a session with the proof that no other site sent it.

A browser sends the cookie along with whatever a page asks it to. What changes something is therefore taken with a
session only from the platform's own pages: they alone know its CSRF token, and browsers say where a request comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from imagineo import errors, keys, tokens
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

SESSION_COOKIE: Final = "imagineo_session"
#: What browsers take from this host alone, over https, for all of its paths: no neighbour in the domain can set it.
#: Source: RFC 6265bis, section 4.1.3.2.
_HOST: Final = "__Host-"
CSRF_HEADER: Final = "x-csrf-token"

_BEARER: Final = "bearer"
#: Methods that change nothing.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: What browsers say of requests that no other site made.
_OWN_SITE: Final = frozenset({"", "same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Credential:
    """The digest of one or the other; what it is the digest of goes no further."""

    key_sha256: bytes = b""
    session_sha256: bytes = b""


def cookie_name(cookie: str, public_url: str) -> str:
    """What a cookie is called in the browser: bound to the host where that is reached by https."""
    return f"{_HOST}{cookie}" if public_url.startswith("https://") else cookie


def presented(headers: Headers, method: str, public_url: str = "") -> Credential:
    """What the request shows: `X-API-Key`, else `Authorization: Bearer`, else the session's cookie.

    Raises:
        MissingApiKey: if there is none of them.
        InvalidApiKey, InvalidSession: if it cannot be one by its form.
        InvalidCsrfToken: if a session asks for a change without its CSRF token, or from another site.
    """
    key = headers.get("x-api-key", "").strip()
    if not key:
        scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
        key = rest.strip() if scheme.lower() == _BEARER else ""
    if key:
        if not keys.is_well_formed(key):
            raise errors.InvalidApiKey
        return Credential(key_sha256=keys.digest(key))
    token = cookie_parser(headers.get("cookie", "")).get(cookie_name(SESSION_COOKIE, public_url), "")
    if not token:
        raise errors.MissingApiKey
    if not tokens.is_well_formed(token):
        raise errors.InvalidSession
    if method not in _SAFE:
        check_site(headers, public_url)
        if not tokens.is_csrf_token(headers.get(CSRF_HEADER, ""), token):
            raise errors.InvalidCsrfToken
    return Credential(session_sha256=tokens.digest(token))


def check_site(headers: Headers, public_url: str) -> None:
    """Refuse what another site's page sent.

    Raises:
        InvalidCsrfToken: as the browser says where it comes from.
    """
    own = {headers.get("host", ""), urlsplit(public_url).netloc} - {""}
    origin = headers.get("origin")
    if headers.get("sec-fetch-site", "") not in _OWN_SITE or (origin and urlsplit(origin).netloc not in own):
        raise errors.InvalidCsrfToken("With a session, changes are taken from the platform's own pages only.")
