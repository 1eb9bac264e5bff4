"""The hints of the broker in memory: who listens, and who is woken."""

from __future__ import annotations

import asyncio
import logging

from imagineo.broker import subjects
from imagineo.broker.port import HintHandler

_log = logging.getLogger(__name__)


class MemorySubscription:
    """See `port.Subscription`: hints queue up and go to the handler one after the other."""

    def __init__(self, pattern: str, handler: HintHandler, siblings: set[MemorySubscription]) -> None:
        self._pattern = pattern
        self._handler = handler
        self._siblings = siblings
        self._offered: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._runner = asyncio.create_task(self._run(), name=f"hints-{pattern}")

    def offer(self, subject: str, body: bytes) -> None:
        """Take a hint if it falls under the pattern."""
        if subjects.matches(self._pattern, subject):
            self._offered.put_nowait((subject, body))

    async def _run(self) -> None:
        while True:
            subject, body = await self._offered.get()
            try:
                await self._handler(subject, body)
            except Exception:  # noqa: BLE001  # one bad hint must not end the subscription
                _log.exception("a handler of broker messages failed", extra={"subject": subject})

    async def close(self) -> None:
        """See `port.Subscription`."""
        self._siblings.discard(self)
        if self._runner is not asyncio.current_task():
            self._runner.cancel()
            await asyncio.wait({self._runner})


class MemoryWakeup:
    """See `port.Wakeup`."""

    def __init__(self, called: asyncio.Event) -> None:
        self._called = called

    async def wait(self, timeout_s: float) -> bool:
        """See `port.Wakeup`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._called.wait()
        except TimeoutError:
            return False
        self._called.clear()
        return True
