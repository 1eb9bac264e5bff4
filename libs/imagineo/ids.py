"""Public ids: a prefix that names the kind, then a UUIDv7 in 26 lower-case base32 characters; sortable and opaque.

Source: UUIDv7 is RFC 9562 section 5.7; the alphabet is Crockford's base32, which keeps the order of the bytes.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Final, Literal

import uuid_utils

Prefix = Literal[
    "gen", "model", "base", "key", "org", "user", "sess", "inv", "aud", "batch", "hook", "evt", "whd", "up", "req"
]

#: From the alphabet of RFC 4648, which the standard library encodes, to Crockford's.
_ALPHABET: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz")
_BODY: Final = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: Prefix) -> str:
    """Make an id such as `gen_06bqz…`: 48 bits of time in milliseconds, 74 random bits."""
    return _write(prefix, uuid_utils.uuid7().int)


def lowest_id(prefix: Prefix, moment: datetime) -> str:
    """The text before which all ids of this kind lie that were made before the moment."""
    return _write(prefix, int(moment.timestamp() * 1_000) << 80)


def is_id(text: str, prefix: Prefix) -> bool:
    """Tell whether `text` has the form of an id of this kind; it need not exist."""
    head, _, body = text.partition("_")
    return head == prefix and _BODY.fullmatch(body) is not None


def _write(prefix: Prefix, number: int) -> str:
    # 26 characters hold 130 bits: two leading zeros, then the UUID; the encoder takes whole groups of 40 bits.
    return f"{prefix}_{base64.b32encode((number << 30).to_bytes(20))[:26].translate(_ALPHABET).decode()}"
