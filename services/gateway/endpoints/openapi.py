"""`/openapi.json`: the document that the route table gives, built once at start."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.parts import Parts
from services.gateway.specification import answer, operation


async def read(parts: Parts, _request: Request) -> Response:
    """The document."""
    return Response(parts.openapi, media_type="application/json")


READ: Final = operation("openapi", "This document.", {200: answer("OpenAPI 3.1.", {"type": "object"})})
