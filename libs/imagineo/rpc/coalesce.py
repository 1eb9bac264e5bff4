"""Turns many small concurrent calls into few large ones, without a timer where somebody waits.

The first item starts a flush; what arrives while flushes are in the air waits for the next. An idle caller waits for
nothing, a busy one shares the cost of a round trip with its neighbours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Flush = Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]]


class Coalescer(Generic[Item, Result]):
    """Batches items for `flush`, which answers them one for one, in order. Use it from one event loop.

    Args:
        flush: gets 1 to `max_items` items. A result that is an Exception fails its own item only; what `flush` itself
            raises fails the whole batch.
        max_items: bounds one batch.
        max_in_flight: bounds the flushes in the air at once.
        linger_s: how long a flush waits for company before it takes its batch; for what nobody waits for.
    """

    def __init__(
        self, flush: Flush[Item, Result], *, max_items: int = 128, max_in_flight: int = 2, linger_s: float = 0.0
    ) -> None:
        self._flush = flush
        self._linger_s = linger_s
        self._max_items = max_items
        self._max_in_flight = max_in_flight
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._flushes: set[asyncio.Task[None]] = set()
        self._starting = False

    def __repr__(self) -> str:
        return f"Coalescer(waiting={len(self._waiting)}, in_flight={len(self._flushes)})"

    async def submit(self, item: Item) -> Result:
        """Wait for the item's own result.

        Cancelled before its batch goes out, the item is dropped: what nobody waits for any more is not done. Cancelled
        after that, the item is done and its result dropped.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return await future

    def _start(self) -> None:
        if self._starting or not self._waiting or len(self._flushes) >= self._max_in_flight:
            return
        self._starting = True
        task = asyncio.create_task(self._run())
        self._flushes.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._flushes.discard(task)
        self._start()

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._max_items:
            item, future = self._waiting.popleft()
            if not future.done():  # its caller gave up meanwhile
                batch.append((item, future))
        return batch

    async def _run(self) -> None:
        # Taken here, not in _start: callers that became ready in the same turn of the loop join this batch.
        if self._linger_s:
            await asyncio.sleep(self._linger_s)
        batch = self._take()
        self._starting = False
        self._start()
        if not batch:
            return
        try:
            results = await self._flush([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as problem:  # noqa: BLE001 - handed to every caller of the batch
            results = [problem] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
