"""Checks of single JSON values, strict in type: `true` is no number and `"7"` neither. Pure.

Each check takes the parameter's name and its decoded value, and returns the value to use or raises
`InvalidParameter` with the sentence that names the field and the allowed range. 512.0 is taken as the whole number
512, as JSON Schema does.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors

Check = Callable[[str, object], Any]

#: What a text may not hold: controls but tab and line ends, and half a surrogate pair, which no UTF-8 can carry.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")

#: As much of a client's own word as an error message repeats.
_SHOWN_CHARACTERS: Final = 64


def number(low: float, high: float) -> Check:
    """Take a finite number of a closed range, as a float."""
    allowed = f"between {low:g} and {high:g}"

    def check(param: str, value: object) -> float:
        if type(value) is not float and type(value) is not int:
            raise errors.InvalidParameter.of(param, f"a number {allowed}")
        if not low <= value <= high:  # false for NaN as well
            raise errors.InvalidParameter.of(param, allowed)
        return float(value)

    return check


def whole(low: int, high: int) -> Check:
    """Take a whole number of a closed range, as an int."""
    allowed = f"between {low} and {high}"

    def check(param: str, value: object) -> int:
        found = _whole(value)
        if found is None:
            raise errors.InvalidParameter.of(param, f"a whole number {allowed}")
        if not low <= found <= high:
            raise errors.InvalidParameter.of(param, allowed)
        return found

    return check


def side(step: int, low: int) -> Check:
    """Take an image side in pixels; only the base model's maximum waits for the model (`completion`)."""
    allowed = f"a multiple of {step} between {low} and the base model's maximum"

    def check(param: str, value: object) -> int:
        found = _whole(value)
        if found is None or found < low or found % step or found >= 2**31:
            raise errors.InvalidParameter.of(param, allowed)
        return found

    return check


def truth(param: str, value: object) -> bool:
    """Take true or false."""
    if type(value) is not bool:
        raise errors.InvalidParameter.of(param, "true or false")
    return value


def text(low: int, high: int) -> Check:
    """Take a string of so many characters (Unicode code points), without control characters but tab and line ends."""
    allowed = f"a string of {low} to {high} characters"

    def check(param: str, value: object) -> str:
        if type(value) is not str or not low <= len(value) <= high:
            raise errors.InvalidParameter.of(param, allowed)
        if _FORBIDDEN.search(value):
            raise errors.InvalidParameter.of(param, "valid text without control characters or lone surrogates")
        return value

    return check


def moment(param: str, value: object) -> Timestamp:
    """Take a moment with its offset from UTC, in RFC 3339."""
    refusal = errors.InvalidParameter.of(param, "an RFC 3339 time such as 2026-01-31T12:00:00Z")
    if type(value) is not str or _RFC_3339.fullmatch(value) is None:
        raise refusal
    stamp = Timestamp()
    try:
        stamp.FromDatetime(datetime.fromisoformat(value.upper()))
    except (ValueError, OverflowError) as problem:
        raise refusal from problem
    return stamp


def choice(options: Sequence[str]) -> Check:
    """Take one of a few words."""
    allowed = "one of " + ", ".join(options)

    def check(param: str, value: object) -> str:
        if type(value) is not str or value not in options:
            raise errors.InvalidParameter.of(param, allowed)
        return value

    return check


def pairs(count: int, name_characters: int, value_characters: int) -> Check:
    """Take an object of strings."""
    allowed = (
        f"an object of at most {count} strings, with names of 1 to {name_characters} "
        f"and values of at most {value_characters} characters"
    )
    name_check, value_check = text(1, name_characters), text(0, value_characters)

    def check(param: str, value: object) -> dict[str, str]:
        if not isinstance(value, dict) or len(value) > count:
            raise errors.InvalidParameter.of(param, allowed)
        try:
            return {name_check(param, name): value_check(param, entry) for name, entry in value.items()}
        except errors.InvalidParameter as problem:
            raise errors.InvalidParameter.of(param, allowed) from problem

    return check


def unknown(name: str, known: Iterable[str], *, within: str = "", kind: str = "parameter") -> errors.UnknownField:
    """Say that a field is not known and, where one is near, which is meant."""
    shown = printable(name)
    param = f"{within}{shown}"
    near = difflib.get_close_matches(name[:_SHOWN_CHARACTERS], list(known), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return errors.UnknownField(f"Unknown {kind} '{param}'.{hint}", metadata={"param": param})


def missing(param: str, allowed: str) -> errors.InvalidParameter:
    """Say that a required field is absent."""
    return errors.InvalidParameter(
        f"Missing parameter '{param}'. Must be {allowed}.", metadata={"param": param, "allowed": allowed}
    )


def printable(word: str) -> str:
    """A client's own word, short and safe to repeat in a message."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", word[:_SHOWN_CHARACTERS])


def _whole(value: object) -> int | None:
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value) and value.is_integer():
        return int(value)
    return None
