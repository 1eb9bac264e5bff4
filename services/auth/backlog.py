"""Work left for later: one piece after the other, bounded in number, lost with the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from imagineo import errors

log = logging.getLogger(__name__)

#: More than so many are dropped: somebody floods.
_MAX_WAITING: Final = 1_000


class Backlog:
    """A queue of work with one that works it off. `what` names a piece in the log. Use it from one event loop."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._works: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(_MAX_WAITING)

    def put(self, work: Callable[[], Awaitable[None]]) -> None:
        """Leave something to do; beyond the bound it is dropped and logged."""
        try:
            self._works.put_nowait(work)
        except asyncio.QueueFull:
            log.warning("%s was dropped: too many wait", self._what)

    async def run(self) -> None:
        """Work for ever; what fails is logged and dropped."""
        while True:
            work = await self._works.get()
            try:
                await work()
            except errors.ImagineoError as problem:
                log.warning("%s was dropped: %s", self._what, problem)
            except Exception:
                # One that cannot be done must not hold up all others.
                log.exception("%s was dropped", self._what)
            finally:
                self._works.task_done()
