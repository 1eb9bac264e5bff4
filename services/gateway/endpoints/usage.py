"""`/v1/usage`: images, megapixel-steps and device seconds by day, key and model."""

from __future__ import annotations

import re
from typing import Final

from imagineo import errors
from imagineo.v1 import auth_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import accounts, query
from services.gateway.exchange import principal_of
from services.gateway.fields import text
from services.gateway.parts import Parts, json_response
from services.gateway.shapes import text as text_shape
from services.gateway.specification import answer, operation, parameter, shape

_NAMES: Final = ("limit", "cursor", "from", "to", "key_id", "model_id")
_OFFSET: Final = re.compile(r"[0-9]{1,9}")

#: What auth calls them.
_RENAMED: Final = {"first_day": "from", "last_day": "to"}


async def read(parts: Parts, request: Request) -> Response:
    """What was drawn; days are UTC's and those of the runs' acceptance."""
    asked = request.query_params
    query.check_names(asked, _NAMES)
    size, offset = query.limit(asked), _offset(asked.get("cursor") or "0")
    listing = pb.ListUsageRequest(
        organization_id=principal_of(request.scope).organization_id,
        first_day=text(0, 10)("from", asked.get("from", "")),
        last_day=text(0, 10)("to", asked.get("to", "")),
        key_id=text(0, 64)("key_id", asked.get("key_id", "")),
        model_id=text(0, 64)("model_id", asked.get("model_id", "")),
        page_size=size,
        offset=offset,
    )
    try:
        found = await parts.peers.ask(parts.peers.auth.ListUsage, listing)
    except errors.InvalidParameter as problem:
        name = problem.metadata.get("param", "")
        if name not in _RENAMED:
            raise
        allowed = problem.metadata["allowed"].replace("last_day", "to")
        raise errors.InvalidParameter.of(_RENAMED[name], allowed) from problem
    next_offset = offset + size
    return json_response(accounts.usage(found, str(next_offset) if next_offset < found.rows_count else None))


def _offset(cursor: str) -> int:
    if _OFFSET.fullmatch(cursor) is None:
        raise errors.InvalidParameter.of("cursor", "the next_cursor of a page before")
    return int(cursor)


_DAY: Final = {"type": "string", "format": "date"}

READ: Final = operation(
    "getUsage",
    "Images, megapixel-steps and device seconds of completed generations by day (UTC), key and model, newest first.",
    {200: answer("One page, with the sums of all pages.", shape("Usage"))},
    refuses=[400],
    parameters=[
        *query.PAGE_PARAMETERS,
        parameter("from", "query", "The first day; default: the first of this month.", _DAY),
        parameter("to", "query", "The last day, at most 366 days later; default: today.", _DAY),
        parameter("key_id", "query", "Only this key's.", text_shape(0, 64)),
        parameter("model_id", "query", "Only this model's.", text_shape(0, 64)),
    ],
)
