"""Who is on the device: any number of runs together, or one alone that did not fit beside others."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.worker.engine.turns import Turns


@dataclass(slots=True, eq=False)
class Stay:
    """One run's time on the device."""

    had_company: bool
    """Whether another was there at any time."""


class Company:
    """Used on one event loop. Whoever waits to be alone is waited for by those who come later."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._inside: set[Stay] = set()

    @contextlib.asynccontextmanager
    async def together(self) -> AsyncIterator[Stay]:
        """Be on the device among others."""
        async with self._turns.turn():
            stay = Stay(had_company=bool(self._inside))
            for other in self._inside:
                other.had_company = True
            self._inside.add(stay)
        try:
            yield stay
        finally:
            self._inside.remove(stay)
            self._turns.look()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be the only one on the device."""
        async with self._turns.turn() as turn:
            while self._inside:
                await turn.changed()
            yield
