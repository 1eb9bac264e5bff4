"""`/v1/limits`: every limit that applies to the key, and what is left of it."""

from __future__ import annotations

import asyncio
from typing import Final

from imagineo.v1 import auth_service_pb2, generation_service_pb2
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import rendering
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import MAX_WAIT_S
from services.gateway.specification import answer, operation, shape


async def read(parts: Parts, request: Request) -> Response:
    """Limits and use of the account."""
    organization_id = principal_of(request.scope).organization_id
    usage, unfinished = await asyncio.gather(
        parts.peers.ask(parts.peers.auth.GetUsage, auth_service_pb2.GetUsageRequest(organization_id=organization_id)),
        parts.peers.ask(
            parts.peers.status.CountUnfinished,
            generation_service_pb2.CountUnfinishedRequest(organization_id=organization_id),
        ),
    )
    shown = rendering.limits(
        usage,
        unfinished_count=unfinished.unfinished_count,
        body_limit_bytes=parts.settings.body_limit_bytes,
        max_wait_s=MAX_WAIT_S,
    )
    return json_response(shown)


READ: Final = operation("getLimits", "Read the limits.", {200: answer("The limits.", shape("Limits"))})
