"""Turns what handlers raise into answers; a bug becomes a 500 whose request id finds the traceback in the log."""

from __future__ import annotations

import logging

from imagineo import errors
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.errors import render
from services.gateway.exchange import exchange_of

log = logging.getLogger(__name__)


class ErrorAnswers:
    """Answers every exception; once an answer has begun it cuts the connection, so nobody takes half for whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = False

        async def send_observed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        except ClientDisconnect:
            return
        except errors.ImagineoError as problem:
            if begun or scope["type"] != "http":
                raise
            if isinstance(problem, errors.Internal):
                log.exception("a request failed")
            await render(problem, exchange_of(scope))(scope, receive, send)
        except Exception:
            if begun or scope["type"] != "http":
                raise
            log.exception("a request failed unexpectedly")
            await render(errors.Internal(), exchange_of(scope))(scope, receive, send)
