"""Public ids: a prefix that names the kind, then a UUIDv7 in 26 lower-case base32 characters; sortable and opaque.

Source: UUIDv7 is RFC 9562 section 5.7; the alphabet is Crockford's base32, which keeps the order of the bytes.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import uuid_utils

Prefix = Literal["gen", "model", "base", "key", "org", "user", "batch", "hook", "evt", "up", "req"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY: Final = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: Prefix) -> str:
    """Make an id such as `gen_06bqz…`: 48 bits of time in milliseconds, 74 random bits."""
    number = uuid_utils.uuid7().int
    return f"{prefix}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_id(text: str, prefix: Prefix) -> bool:
    """Tell whether `text` has the form of an id of this kind; it need not exist."""
    head, _, body = text.partition("_")
    return head == prefix and _BODY.fullmatch(body) is not None
