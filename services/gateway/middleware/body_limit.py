"""Stops reading a body at its route's limit, whether it is announced or comes in chunks without end."""

from __future__ import annotations

from collections.abc import Mapping

from imagineo import errors
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Raises `BodyTooLarge` out of `receive`, so that only handlers which read a body meet it.

    Args:
        app: what stands behind it.
        limit_bytes: the limit of all routes that are not named.
        limits_bytes: other limits by (method, path); such a path has no parameters.
    """

    def __init__(
        self, app: ASGIApp, limit_bytes: int, limits_bytes: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._limits_bytes = dict(limits_bytes or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit_bytes = self._limits_bytes.get((scope["method"], scope["path"]), self._limit_bytes)
        announced_bytes = _content_length(scope)
        received_bytes = 0

        async def receive_bounded() -> Message:
            nonlocal received_bytes
            if announced_bytes > limit_bytes:
                raise _too_large(limit_bytes)
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > limit_bytes:
                raise _too_large(limit_bytes)
            return message

        await self._app(scope, receive_bounded, send)


def _too_large(limit_bytes: int) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(
        f"The body is larger than {limit_bytes} bytes.", metadata={"allowed_bytes": str(limit_bytes)}
    )


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
