"""A JSON body that is one object: what every route but the submits, which complain later, reads at once."""

from __future__ import annotations

from typing import Any

from imagineo import errors
from starlette.requests import Request

from services.gateway.submission import decode


async def read_object(request: Request) -> dict[str, Any]:
    """The body's object.

    Raises:
        UnsupportedMediaType: if it is not called JSON.
        InvalidJson: if it is not one JSON object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise errors.UnsupportedMediaType("The body's content type must be application/json.")
    document = decode(await request.body())
    if not isinstance(document, dict):
        raise errors.InvalidJson("The body must be a JSON object.")
    return document
