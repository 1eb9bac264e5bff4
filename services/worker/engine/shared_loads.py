"""Loads under way, by key: made once however many wait for it; when the last of them leaves it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class _Load(Generic[Value]):
    task: asyncio.Task[Value]
    waiting_count: int = 0


class SharedLoads(Generic[Value]):
    """Used on one event loop."""

    def __init__(self) -> None:
        self._loads: dict[str, _Load[Value]] = {}

    def __contains__(self, key: str) -> bool:
        """Whether a load of it is under way."""
        return key in self._loads

    async def get(self, key: str, make: Callable[[], Awaitable[Value]]) -> Value:
        """What `make()` gives, or the load of that key that is under way."""
        load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = _Load(asyncio.create_task(_made(make), name=f"load {key[:12]}"))
        load.waiting_count += 1
        try:
            # Shielded: one who is cancelled does not take it away from the others.
            return await asyncio.shield(load.task)
        finally:
            load.waiting_count -= 1
            if load.task.done() or not load.waiting_count:
                load.task.cancel()
                if self._loads.get(key) is load:
                    del self._loads[key]


async def _made(make: Callable[[], Awaitable[Value]]) -> Value:
    return await make()
