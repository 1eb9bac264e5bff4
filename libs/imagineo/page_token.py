"""Page tokens: opaque to callers, and good for the one list and organization that they were made for. Pure.

A token holds the last id of its page and a check sum over it. It is no secret: whoever works one out sees no more than
his own list, since each page is read for the organization that asks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from imagineo.errors import InvalidParameter
from imagineo.ids import Prefix, is_id

_CHECK_BYTES: Final = 8


def encode(organization_id: str, last_id: str) -> str:
    """Make the token of the page after `last_id`, for one organization."""
    return base64.urlsafe_b64encode(_check(organization_id, last_id) + last_id.encode()).decode()


def decode(organization_id: str, token: str, prefix: Prefix) -> str:
    """Read the last id of the page before; `prefix` is the kind of id that the list holds.

    Raises:
        InvalidParameter: if the token was not made by `encode` for this organization and this kind.
    """
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        last_id = raw[_CHECK_BYTES:].decode("ascii")
    except (UnicodeError, binascii.Error) as problem:
        raise _refusal() from problem
    if not is_id(last_id, prefix) or encode(organization_id, last_id) != token:
        raise _refusal()
    return last_id


def _check(organization_id: str, last_id: str) -> bytes:
    return hashlib.sha256(f"{organization_id}\n{last_id}".encode()).digest()[:_CHECK_BYTES]


def _refusal() -> InvalidParameter:
    return InvalidParameter.of("page_token", "the next_page_token of the page before")
