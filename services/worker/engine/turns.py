"""Waiting in the order of coming: the first in line looks whenever something changed, the others wait."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator


class Turn:
    """One who waits. Its event loop is the one that it was made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    async def changed(self) -> None:
        """Wait until something changed since the last look."""
        await self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        """Let it look. From any thread, in the middle of anything."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._event.set)


class Turns:
    """A line."""

    def __init__(self) -> None:
        self._waiting: collections.deque[Turn] = collections.deque()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait to be the first in line; the line moves on when the block ends."""
        turn = Turn()
        self._waiting.append(turn)
        try:
            while self._waiting[0] is not turn:
                await turn.changed()
            yield turn
        finally:
            self._waiting.remove(turn)
            self.look()

    def look(self) -> None:
        """Let the first in line look. From any thread, in the middle of anything."""
        with contextlib.suppress(IndexError):
            self._waiting[0].wake()
