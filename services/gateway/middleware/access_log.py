"""One JSON line and one metric for each answered request; no query string, no body, no key."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.exchange import exchange_of
from services.gateway.metrics import GatewayMetrics

log = logging.getLogger("imagineo.gateway.access")

#: Methods that may label a metric; a client may send any word.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class AccessLog:
    """Counts, times and logs."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        status = 0

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_observed)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status, time.perf_counter() - started_s)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        exchange = exchange_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(method, exchange.route, status, seconds)
        if not log.isEnabledFor(logging.INFO):
            return
        principal = exchange.principal
        log.info(
            "request",
            extra={
                "method": method,
                "route": exchange.route,
                "status": status,
                "duration_ms": round(seconds * 1000, 2),
                **({"run_id": exchange.run_id} if exchange.run_id else {}),
                **({"org_id": principal.organization_id, "key_id": principal.key_id} if principal else {}),
            },
        )
