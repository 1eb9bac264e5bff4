"""Stops reading a body at the limit, whether it is announced or comes in chunks without end."""

from __future__ import annotations

from imagineo import errors
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Raises `BodyTooLarge` out of `receive`, so that only handlers which read a body meet it."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced_bytes = _content_length(scope)
        received_bytes = 0

        async def receive_bounded() -> Message:
            nonlocal received_bytes
            if announced_bytes > self._limit_bytes:
                raise self._too_large()
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._limit_bytes:
                raise self._too_large()
            return message

        await self._app(scope, receive_bounded, send)

    def _too_large(self) -> errors.BodyTooLarge:
        return errors.BodyTooLarge(
            f"The body is larger than {self._limit_bytes} bytes.", metadata={"allowed_bytes": str(self._limit_bytes)}
        )


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
