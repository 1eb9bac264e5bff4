"""`/v1/limits`: every limit that applies to the key, and what is left of it."""

from __future__ import annotations

from typing import Final

from imagineo.v1 import auth_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import rendering
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import MAX_WAIT_S
from services.gateway.specification import answer, operation, shape


async def read(parts: Parts, request: Request) -> Response:
    """Limits and use of the account."""
    names = pb.GetUsageRequest(organization_id=principal_of(request.scope).organization_id)
    usage = await parts.peers.ask(parts.peers.auth.GetUsage, names)
    body_limit_bytes = parts.settings.body_limit_bytes
    return json_response(rendering.limits(usage, body_limit_bytes=body_limit_bytes, max_wait_s=MAX_WAIT_S))


READ: Final = operation("getLimits", "Read the limits.", {200: answer("The limits.", shape("Limits"))})
