"""Takes jobs from the queues while the device has room: the scheduler's order, a hint to wake, a poll of 1 s besides.

A slot is taken before a job is pulled and given back as soon as its picture is drawn, so that encoding and upload of
one run overlap the drawing of the next. A worker whose step is full asks a little later than others, so that no job
waits in it while another has room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from imagineo.broker import subjects
from imagineo.broker.port import Broker, Delivery, Wakeup
from imagineo.errors import Unavailable
from imagineo.v1 import job_pb2

from services.worker.engine.base import AHEAD_COUNT
from services.worker.lanes import StrideScheduler
from services.worker.lifecycle import Lifecycle

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
#: How much later a worker asks whose step is full: one that has room in its own takes the job meanwhile.
AHEAD_PAUSE_S: Final = 0.05


class Intake:
    """Pulls jobs of the base models that were added."""

    def __init__(self, broker: Broker, lifecycle: Lifecycle, *, slots: int, poll_s: float = POLL_S) -> None:
        self._broker = broker
        self._lifecycle = lifecycle
        self._slot_count = slots
        self._slots = asyncio.Semaphore(slots)
        self._taken_count = 0
        self._poll_s = poll_s
        self._scheduler = StrideScheduler()
        self._wake = asyncio.Event()
        self._listeners: list[asyncio.Task[None]] = []
        self._runs: set[asyncio.Task[None]] = set()
        self.base_model_slugs: list[str] = []

    async def add(self, base_model_slug: str) -> None:
        """Pull jobs of a base model from now on."""
        if base_model_slug in self.base_model_slugs:
            return
        await self._broker.ensure_queue(base_model_slug)
        self._scheduler.add(base_model_slug)
        self.base_model_slugs.append(base_model_slug)
        self._listeners.append(asyncio.create_task(self._listen(base_model_slug), name=f"wakeups {base_model_slug}"))
        self._wake.set()

    def grow(self, slots: int) -> None:
        """Take up to `slots` runs at once from now on, where that is more than before."""
        for _ in range(slots - self._slot_count):
            self._slots.release()
        self._slot_count = max(slots, self._slot_count)

    async def on_nudge(self, _subject: str, _body: bytes) -> None:
        """Handle the word of another worker that a job waits which this one is the best for."""
        self._wake.set()

    async def pull(self) -> None:
        """Pull until cancelled; a cancelled pull starts no run, those begun go on. It may be called again."""
        try:
            while True:
                await self._slots.acquire()
                slot = self._slot()
                try:
                    delivery = await self._next()
                except BaseException:
                    slot.release()
                    raise
                task = asyncio.create_task(self._work(delivery, slot), name="run")
                self._runs.add(task)
                task.add_done_callback(self._runs.discard)
        except asyncio.CancelledError:
            for listener in self._listeners:
                listener.cancel()
            raise

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no run is in hand; False when the time is up."""
        if self._runs:
            await asyncio.wait(set(self._runs), timeout=timeout_s)
        return not self._runs

    def abandon(self) -> None:
        """Cancel the runs in hand: their deliveries come again."""
        for task in self._runs:
            task.cancel()

    def _slot(self) -> _Slot:
        self._taken_count += 1
        return _Slot(self._given_back)

    def _given_back(self) -> None:
        self._taken_count -= 1
        self._slots.release()

    @property
    def _is_ahead(self) -> bool:
        """Whether the next run would wait here for a step, while it may have a place in another worker's."""
        return self._taken_count > max(1, self._slot_count - AHEAD_COUNT)

    async def _next(self) -> Delivery:
        while True:
            self._wake.clear()
            if self._is_ahead:
                await asyncio.sleep(AHEAD_PAUSE_S)
            try:
                for queue in self._scheduler.order():
                    name = subjects.queue(queue.base_model_slug, job_pb2.Lane.ValueType(queue.lane))
                    delivery = await self._broker.next_job(name)
                    if delivery is not None:
                        self._scheduler.taken(queue)
                        return delivery
            except Unavailable:
                log.debug("the broker is away")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_s)

    async def _work(self, delivery: Delivery, slot: _Slot) -> None:
        try:
            await self._lifecycle.run(delivery, on_drawn=slot.release)
        except Exception:
            log.exception("a delivery was dropped; it comes again")
        finally:
            slot.release()

    async def _listen(self, base_model_slug: str) -> None:
        async with self._broker.wakeups(base_model_slug) as wakeup:
            await self._forward(wakeup)

    async def _forward(self, wakeup: Wakeup) -> None:
        while True:
            if await wakeup.wait(self._poll_s):
                self._wake.set()


class _Slot:
    """Room on the device for one run; given back once."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()
