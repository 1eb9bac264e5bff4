"""What a body is called, and a JSON body that is one object."""

from __future__ import annotations

from typing import Any, Final

from imagineo import errors
from starlette.datastructures import Headers
from starlette.requests import Request

from services.gateway.submission import decode_object

JSON: Final = "application/json"


def media_type(headers: Headers) -> str:
    """The body's content type without its parameters, in lower case; empty where none is named."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def require_json(headers: Headers) -> None:
    """Refuse a body that is not called JSON.

    Raises:
        UnsupportedMediaType: naming what is taken.
    """
    if media_type(headers) != JSON:
        raise errors.UnsupportedMediaType(f"The body's content type must be {JSON}.")


async def read_object(request: Request) -> dict[str, Any]:
    """The body's object, for routes that need not hold their complaints back.

    Raises:
        UnsupportedMediaType: if it is not called JSON.
        InvalidJson: if it is not one JSON object.
    """
    require_json(request.headers)
    return decode_object(await request.body())
