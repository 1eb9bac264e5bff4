"""Page tokens: the last run of a page, bound to the organization that asked by a checksum. Opaque, not secret."""

from __future__ import annotations

import base64
import binascii
import hashlib

from imagineo.errors import InvalidParameter
from imagineo.ids import is_id

_SUM_BYTES = 6


def write(organization_id: str, run_id: str) -> str:
    """Make the token of the page after `run_id`."""
    return base64.urlsafe_b64encode(_sum(organization_id, run_id) + run_id.encode()).decode().rstrip("=")


def read(organization_id: str, token: str) -> str:
    """Give the run_id that a token stands for.

    Raises:
        InvalidParameter: if it was not made by `write` for this organization.
    """
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        run_id = raw[_SUM_BYTES:].decode("ascii")
    except (binascii.Error, ValueError):
        run_id, raw = "", b""
    if not is_id(run_id, "gen") or raw[:_SUM_BYTES] != _sum(organization_id, run_id):
        raise InvalidParameter.of("page_token", "the next_page_token of the page before")
    return run_id


def _sum(organization_id: str, run_id: str) -> bytes:
    return hashlib.blake2b(f"{organization_id}\0{run_id}".encode(), digest_size=_SUM_BYTES).digest()
