"""The form of an API key: `imag_`, 43 base62 characters of 256 random bits, 6 of CRC32 over all that stands before.

The checksum lets the gateway refuse a mistyped key without asking anybody, and secret scanners recognise a real one.
Only the SHA-256 digest of a key is ever stored or sent; 256 random bits need no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from typing import Final

_HEAD: Final = "imag_"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BITS: Final = 256
_RANDOM_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(f"{_HEAD}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")

#: How many first characters of a key people see, to recognise it by.
PREFIX_LENGTH: Final = 9


def new_secret() -> str:
    """Make a new key."""
    body = _HEAD + _base62(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    return body + _checksum(body)


def is_well_formed(text: str) -> bool:
    """Tell whether `text` has the form and the checksum of a key; it need not exist."""
    if _FORM.fullmatch(text) is None:
        return False
    return text[-_CHECKSUM_LENGTH:] == _checksum(text[:-_CHECKSUM_LENGTH])


def digest(text: str) -> bytes:
    """The SHA-256 digest of the whole key, 32 bytes: what is stored and what travels between services."""
    return hashlib.sha256(text.encode()).digest()


def prefix(text: str) -> str:
    """The first characters of a key, which give nothing away."""
    return text[:PREFIX_LENGTH]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
