"""Query parameters of the list routes: strict, each named where it is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors
from starlette.datastructures import QueryParams

from services.gateway import fields
from services.gateway.fields import text, unknown
from services.gateway.specification import parameter

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100


def check_names(query: QueryParams, known: Collection[str]) -> None:
    """Refuse parameters that the route does not know.

    Raises:
        UnknownField: naming the first one and the nearest known.
    """
    for name in query:
        if name not in known:
            raise unknown(name, known, kind="query parameter")


def limit(query: QueryParams) -> int:
    """The page size.

    Raises:
        InvalidParameter: if it is not 1 to 100.
    """
    raw = query.get("limit", str(DEFAULT_LIMIT))
    if re.fullmatch(r"[0-9]{1,4}", raw) is None or not 1 <= int(raw) <= MAX_LIMIT:
        raise errors.InvalidParameter.of("limit", f"between 1 and {MAX_LIMIT}")
    return int(raw)


def cursor(query: QueryParams) -> str:
    """Where the page before ended; empty for the first page.

    Raises:
        InvalidParameter: if it cannot be a cursor.
    """
    return str(text(0, 512)("cursor", query.get("cursor", "")))


def words(query: QueryParams, name: str, known: Collection[str]) -> list[str]:
    """Some of a list of words, repeated or with commas between.

    Raises:
        InvalidParameter: for another word.
    """
    found = [word for entry in query.getlist(name) for word in entry.split(",")]
    if any(word not in known for word in found):
        raise errors.InvalidParameter.of(name, "one or more of " + ", ".join(known))
    return found


def moment(query: QueryParams, name: str) -> Timestamp | None:
    """A moment with its offset from UTC.

    Raises:
        InvalidParameter: if it is not RFC 3339.
    """
    raw = query.get(name)
    return None if raw is None else fields.moment(name, raw)


def renamed(problem: errors.InvalidParameter) -> errors.InvalidParameter:
    """A service's refusal of a page token, in the words of REST."""
    if problem.metadata.get("param") == "page_token":
        return errors.InvalidParameter.of("cursor", "the next_cursor of a page before")
    return problem


PAGE_PARAMETERS: Final = (
    parameter("limit", "query", "How many.", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 20}),
    parameter("cursor", "query", "The next_cursor of the page before.", {"type": "string", "maxLength": 512}),
)
