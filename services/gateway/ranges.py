"""Byte ranges and entity tags of one representation. Pure.

Source: RFC 9110 sections 13.1.2 (If-None-Match), 13.1.5 (If-Range) and 14.2 (Range). Several ranges in one request are
answered with the whole, as section 14.2 allows.
"""

from __future__ import annotations

import re
from typing import Final

_ONE: Final = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range lies outside of the representation."""


def byte_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of what is asked for; None where the whole is to be sent.

    Raises:
        Unsatisfiable: if no byte of it exists.
    """
    found = _ONE.fullmatch(header)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        if int(last) == 0 or size_bytes == 0:
            raise Unsatisfiable
        return max(0, size_bytes - int(last)), size_bytes
    if last and int(last) < int(first):
        return None
    if int(first) >= size_bytes:
        raise Unsatisfiable
    return int(first), min(size_bytes, int(last) + 1) if last else size_bytes


def matches(header: str, etag: str) -> bool:
    """Whether one of the tags of an If-None-Match is this one; weak tags compare as strong ones."""
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags
