"""The outermost layer: names the request, and writes onto every answer the headers that the exchange has gathered."""

from __future__ import annotations

import math
import re
import time
from typing import Final

from imagineo.ids import new_id
from imagineo.telemetry.logs import bind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.exchange import Exchange, begin

_SANE: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:=+/-]{0,127}")

RATE_WINDOW_S: Final = 60


class RequestId:
    """Takes `X-Request-Id` where it is a sane token, else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = begin(scope, _request_id(scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_headers(exchange)]
            await send(message)

        with bind(request_id=exchange.request_id):
            await self._app(scope, receive, send_with_headers)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE.fullmatch(value):
            return bytes(value).decode()
    return new_id("req")


def _headers(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-request-id", exchange.request_id.encode())]
    if (rate := exchange.rate_limit) is not None:
        left_s = min(RATE_WINDOW_S, max(0, math.ceil(rate.reset_at_epoch_s - time.time())))
        headers += [
            (b"x-ratelimit-limit", b"%d" % rate.limit),
            (b"x-ratelimit-remaining", b"%d" % rate.remaining),
            (b"x-ratelimit-reset", b"%d" % rate.reset_at_epoch_s),
            (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (rate.limit, RATE_WINDOW_S)),
            (b"ratelimit", b'"requests";r=%d;t=%d' % (rate.remaining, left_s)),
        ]
    return headers
