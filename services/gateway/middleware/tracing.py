"""A span for each request: it goes on with the client's `traceparent`, and tells in `traceresponse` where it is found.

Source: W3C Trace Context; `traceresponse` is its level 2's header for answers.
"""

from __future__ import annotations

from typing import Final

from imagineo.telemetry import tracing
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.exchange import exchange_of

_CARRIED: Final = (b"traceparent", b"tracestate")
#: What is asked again and again and leads nowhere.
_UNTRACED: Final = frozenset({"/healthz", "/readyz"})


class Tracing:
    """Traces requests; it stands only where the process traces."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                here = tracing.carrier().get("traceparent", "")
                message["headers"] = [*message["headers"], (b"traceresponse", here.encode())]
            await send(message)

        carried = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
        attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with tracing.continued(carried), tracing.span(scope["method"], attributes, kind="SERVER", begins=True):
            try:
                await self._app(scope, receive, send_traced)
            finally:
                exchange = exchange_of(scope)
                organization_id = exchange.principal.organization_id if exchange.principal else ""
                told: dict[str, str | int] = {
                    "http.route": exchange.route,
                    "imagineo.request_id": exchange.request_id,
                    "imagineo.run_id": exchange.run_id,
                    "imagineo.org_id": organization_id,
                    "http.response.status_code": status,
                }
                tracing.note({name: value for name, value in told.items() if value})
                tracing.rename(f"{scope['method']} {exchange.route}".rstrip())
                if status >= 500:
                    tracing.fail(f"answered {status}")
