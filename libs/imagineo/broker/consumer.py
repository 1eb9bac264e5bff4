"""Pulls a durable consumer's messages in batches, over reconnects, and feeds them to a handler.

One pull stands at the server at a time. Its messages come to an inbox of this consumer alone and are handled whichever
pull they answer, so that no pull can swallow one; a pull that says nothing for longer than it lives is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from nats.aio.msg import Msg

from imagineo.broker.connection import Connection
from imagineo.broker.delivery import JetStreamDelivery
from imagineo.broker.port import BatchHandler
from imagineo.errors import Unavailable

_log = logging.getLogger(__name__)

#: How long a pull stands; also how late a message comes at worst after the broker forgot a pull.
_PULL_S: Final = 2.0
_GRACE_S: Final = 0.5
_RETRY_S: Final = 0.2
_REDELIVER_S: Final = 1.0


async def run_consumer(
    connection: Connection, pull_subject: str, handler: BatchHandler, *, batch: int, mend: Callable[[], Awaitable[None]]
) -> None:
    """Run until cancelled; then what was delivered but not handled is handed back."""
    inbox = connection.new_inbox()
    puller = _Puller(connection, pull_subject, inbox, batch, mend)
    listener = await connection.listen(inbox, puller.take)
    connection.greeters.add(puller.greet)
    try:
        while True:
            deliveries = await puller.next_batch()
            try:
                await handler([*deliveries])
            except Exception:  # noqa: BLE001  # whatever it was, the batch comes again
                _log.exception("a batch of broker messages failed", extra={"pull": pull_subject})
                await _hand_back(deliveries, _REDELIVER_S)
            except BaseException:
                await _hand_back(deliveries, 0.0)
                raise
    finally:
        connection.greeters.discard(puller.greet)
        await listener.close()
        await _hand_back(puller.drain(), 0.0)


async def _hand_back(deliveries: list[JetStreamDelivery], delay_s: float) -> None:
    for delivery in deliveries:
        if not delivery.settled:
            await delivery.nak(delay_s)


class _Puller:
    """Keeps one pull standing and sorts its answers into messages and statuses."""

    def __init__(
        self, connection: Connection, pull_subject: str, inbox: str, batch: int, mend: Callable[[], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._pull_subject = pull_subject
        self._inbox = inbox
        self._batch = batch
        self._mend = mend
        self._arrived: list[JetStreamDelivery] = []
        self._outstanding = 0
        self._refused = False
        self._news = asyncio.Event()
        self._request = json.dumps({"batch": batch, "expires": round(_PULL_S * 1e9)}).encode()

    async def take(self, message: Msg) -> None:
        """Take one answer of the server."""
        status = (message.headers or {}).get("Status")
        if status is None:
            self._arrived.append(JetStreamDelivery.of(message, self._connection))
            self._outstanding -= 1
        elif status != "100":  # 100 is a heartbeat; 404 and 408 end the pull; others say that something is missing
            self._outstanding = 0
            self._refused = status not in ("404", "408")
        self._news.set()

    async def next_batch(self) -> list[JetStreamDelivery]:
        """Wait for messages, and give all that are there, at most a batch."""
        while not self._arrived:
            if self._outstanding <= 0:
                await self._pull()
            try:
                async with asyncio.timeout(_PULL_S + _GRACE_S):
                    await self._news.wait()
            except TimeoutError:
                self._outstanding = 0
            self._news.clear()
            if self._refused:
                self._refused = False
                with contextlib.suppress(Unavailable):
                    await self._mend()
                await asyncio.sleep(_RETRY_S)
        ready, self._arrived = self._arrived[: self._batch], self._arrived[self._batch :]
        return ready

    async def _pull(self) -> None:
        with contextlib.suppress(Unavailable):  # then the next connection, or the time, wakes the waiter
            await self._connection.send(self._pull_subject, self._request, reply=self._inbox)
            self._outstanding = self._batch

    def greet(self) -> None:
        """Pull anew on a new connection: the old one's pull is gone with it."""
        self._outstanding = 0
        self._news.set()

    def drain(self) -> list[JetStreamDelivery]:
        """Give what came and was not handled."""
        left, self._arrived = self._arrived, []
        return left
