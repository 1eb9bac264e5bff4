"""`/healthz` and `/readyz`: whether the process lives, and whether requests should come to it.

Submits go on without NATS (the relay sends later), without the store and without webhooks (their events wait in the
stream), so these are named but not required: a cluster must not take every gateway away because one of them is away.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, shape


async def alive(_parts: Parts, _request: Request) -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


async def ready(parts: Parts, _request: Request) -> Response:
    """Whether requests should come here, with each dependency named; the reasons are in the log."""
    problems = await parts.readiness.problems()
    dependencies = {
        name: {"ok": name not in problems, "required": name in parts.readiness.required}
        for name in parts.readiness.names
    }
    is_ready = not parts.draining.is_set() and all(
        found["ok"] or not found["required"] for found in dependencies.values()
    )
    return json_response({"ready": is_ready, "dependencies": dependencies}, status=200 if is_ready else 503)


ALIVE: Final = operation("healthz", "Whether the process is alive.", {200: answer("It is.", shape("Health"))})
READY: Final = operation(
    "readyz",
    "Whether the gateway and what it needs are ready.",
    {200: answer("Ready.", shape("Readiness")), 503: answer("Not ready.", shape("Readiness"))},
)
