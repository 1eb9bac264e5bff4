"""The request headers that change how a submit is treated: Idempotency-Key, Prefer, Cancel-After. Pure.

Source: `Prefer: wait` is RFC 7240 section 4.3. Preferences other than `wait` are ignored, as section 2 says; a `wait`
that cannot be kept is refused, because a client that asked for it would else misread the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from imagineo import errors
from starlette.datastructures import Headers

MAX_WAIT_S: Final = 60
MAX_CANCEL_AFTER_S: Final = 86_400

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_DIGITS: Final = re.compile(r"[0-9]{1,6}")
_WAIT: Final = re.compile(r'\s*wait\s*=\s*"?([^";]*)"?\s*(?:;.*)?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """How one submit is to be treated."""

    idempotency_key: str = ""
    wait_s: int | None = None
    cancel_after_s: int | None = None


_NONE: Final = Preferences()


def read_preferences(headers: Headers) -> Preferences:
    """Read the three headers.

    Raises:
        InvalidParameter: if one of them is malformed or out of range.
    """
    key, prefer, cancel_after = headers.get("idempotency-key"), headers.get("prefer"), headers.get("cancel-after")
    if key is None and prefer is None and cancel_after is None:
        return _NONE
    return Preferences(
        idempotency_key=_key(key) if key is not None else "",
        wait_s=_wait_s(headers.getlist("prefer")),
        cancel_after_s=_seconds("Cancel-After", cancel_after, MAX_CANCEL_AFTER_S) if cancel_after is not None else None,
    )


def _key(raw: str) -> str:
    if _IDEMPOTENCY_KEY.fullmatch(raw) is None:
        raise errors.InvalidParameter.of("Idempotency-Key", "1 to 255 visible ASCII characters")
    return raw


def _wait_s(lines: list[str]) -> int | None:
    for preference in (part for line in lines for part in line.split(",")):
        if found := _WAIT.fullmatch(preference):
            return _seconds("Prefer", found.group(1), MAX_WAIT_S, form="wait=N with N")
    return None


def _seconds(header: str, raw: str, high: int, *, form: str = "") -> int:
    cleaned = raw.strip()
    if _DIGITS.fullmatch(cleaned) is None or not 1 <= int(cleaned) <= high:
        raise errors.InvalidParameter.of(header, f"{form} a whole number of seconds between 1 and {high}".strip())
    return int(cleaned)
