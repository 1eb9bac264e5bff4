"""`/v1/limits`: every limit that applies to the key, and what is left of it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

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
    usage, unfinished_count = await use_of(parts, principal_of(request.scope).organization_id)
    return json_response(shown(parts, usage, unfinished_count))


async def use_of(parts: Parts, organization_id: str) -> tuple[auth_service_pb2.GetUsageResponse, int]:
    """What auth has counted, and how many runs are unfinished.

    Raises:
        Unavailable: if one of the two cannot say.
    """
    usage, unfinished = await asyncio.gather(
        parts.peers.ask(parts.peers.auth.GetUsage, auth_service_pb2.GetUsageRequest(organization_id=organization_id)),
        parts.peers.ask(
            parts.peers.status.CountUnfinished,
            generation_service_pb2.CountUnfinishedRequest(organization_id=organization_id),
        ),
    )
    return usage, unfinished.unfinished_count


def shown(parts: Parts, usage: auth_service_pb2.GetUsageResponse, unfinished_count: int) -> dict[str, Any]:
    """The limits as REST shows them."""
    return rendering.limits(
        usage,
        unfinished_count=unfinished_count,
        body_limit_bytes=parts.settings.body_limit_bytes,
        model_file_limit_bytes=parts.settings.lora_limit_bytes,
        batch_body_limit_bytes=parts.settings.batch_body_limit_bytes,
        max_wait_s=MAX_WAIT_S,
    )


READ: Final = operation("getLimits", "Read the limits.", {200: answer("The limits.", shape("Limits"))})
