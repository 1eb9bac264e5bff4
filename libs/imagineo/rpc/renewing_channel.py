"""A channel that goes on with renewed certificates: gRPC's own keep the ones they were made with.

Calls begun stay on the channel they began on; it is closed once the last of them is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc

from imagineo.rpc.tls import Pems, TlsIdentity


class RenewingChannel(grpc.aio.Channel):
    """Stands for the channel of the certificates that count now. Belongs to the event loop that made it."""

    def __init__(self, identity: TlsIdentity, open_with: Callable[[Pems], grpc.aio.Channel]) -> None:
        self._identity = identity
        self._open_with = open_with
        self._now = _Life(identity.current(), open_with)

    def life(self) -> _Life:
        """The channel to call on now."""
        pems = self._identity.current()
        if pems is not self._now.pems:
            before, self._now = self._now, _Life(pems, self._open_with)
            before.retire()
        return self._now

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, "unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, "stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, "stream_stream", arguments, options)

    async def close(self, grace: float | None = None) -> None:
        """See `grpc.aio.Channel`."""
        await self._now.channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See `grpc.aio.Channel`."""
        return self.life().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See `grpc.aio.Channel`."""
        await self.life().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See `grpc.aio.Channel`."""
        await self.life().channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Life:
    """One channel, and how many calls are on it."""

    def __init__(self, pems: Pems, open_with: Callable[[Pems], grpc.aio.Channel]) -> None:
        self.pems = pems
        self.channel = open_with(pems)
        self._calls_count = 0
        self._is_retired = False
        self._closing: Any = None

    def note(self, call: Any) -> None:
        """Count a call that begins."""
        self._calls_count += 1
        call.add_done_callback(self._over)

    def retire(self) -> None:
        """Take no more calls."""
        self._is_retired = True
        self._close_when_idle()

    def _over(self, _call: Any) -> None:
        self._calls_count -= 1
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._is_retired and not self._calls_count and self._closing is None:
            self._closing = asyncio.ensure_future(self.channel.close(None))


class _Method:
    """One method of a stub, on whichever channel counts when it is called."""

    def __init__(
        self, channel: RenewingChannel, kind: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._arguments = arguments
        self._method = arguments[0]
        self._options = options
        self._life: _Life | None = None
        self._callable: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        life = self._channel.life()
        if life is not self._life:
            self._life = life
            self._callable = getattr(life.channel, self._kind)(*self._arguments, **self._options)
        call = self._callable(*arguments, **options)
        life.note(call)
        return call
