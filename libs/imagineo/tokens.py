"""Tokens of sessions, invitations and password resets: 256 random bits, shown once; only SHA-256 digests are kept.

A session's CSRF token is derived from the session's own, so that it is bound to it and needs no row: whoever can make
it holds the session already, and it tells nothing of what it was made from.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final

_BYTES: Final = 32
_FORM: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token() -> str:
    """Make a token of 43 URL-safe characters."""
    return secrets.token_urlsafe(_BYTES)


def is_well_formed(text: str) -> bool:
    """Tell whether `text` has the form of a token; it need not exist."""
    return _FORM.fullmatch(text) is not None


def digest(token: str) -> bytes:
    """The SHA-256 digest, 32 bytes: what is stored and what travels between services."""
    return hashlib.sha256(token.encode()).digest()


def csrf_token(session_token: str) -> str:
    """The token that forms and scripts of a session send beside its cookie: 64 hexadecimal characters."""
    return hmac.new(session_token.encode(), b"imagineo csrf", hashlib.sha256).hexdigest()


def is_csrf_token(text: str, session_token: str) -> bool:
    """Tell in constant time whether `text` is the session's CSRF token."""
    return hmac.compare_digest(text.encode(), csrf_token(session_token).encode())
