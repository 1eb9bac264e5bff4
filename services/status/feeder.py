"""Feeds batches to the queues: a small window of their items at a time, so that nobody else's run waits for them.

An ending, a cancel or a new batch wakes it; a look each second repairs what was missed. Several replicas may run it: a
release is one transaction under its base model's lock. Dead before the commit, nothing happened; dead after it, the
relay publishes what was released.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.errors import ImagineoError, Unavailable
from imagineo.jobs.states import Cancellation
from imagineo.telemetry import tracing
from imagineo.v1 import job_pb2

from services.status.repository.batches import Batches
from services.status.repository.dispatch import Dispatch
from services.status.repository.feeding import Feeding
from services.status.repository.runs import Word
from services.status.transitions import Transitions
from services.status.turns import turns, window_of
from services.status.workers import Workers

log = logging.getLogger(__name__)

#: How often it looks without being woken: other replicas' endings and its own past.
LOOK_S = 1.0
_CANCEL_BATCH = 256


class Feeder:
    """Releases held runs and publishes their jobs."""

    def __init__(
        self,
        feeding: Feeding,
        batches: Batches,
        dispatch: Dispatch,
        broker: Broker,
        workers: Workers,
        *,
        changed: Callable[[str], None],
    ) -> None:
        self._feeding, self._batches, self._dispatch = feeding, batches, dispatch
        self._broker, self._workers, self._changed = broker, workers, changed
        self._news = asyncio.Event()
        self._owners: dict[str, int] = {}

    def begin(self) -> None:
        """Say that there is a batch, or that one is to be canceled."""
        self._news.set()

    def ended(self) -> None:
        """Say that a run ended; where no batch holds anything this means nothing."""
        if self._owners:
            self._news.set()

    def owners_count(self, base_model_slug: str) -> int:
        """How many organizations' batches share a base model, as last seen."""
        return self._owners.get(base_model_slug, 0)

    async def run(self, transitions: Transitions) -> None:
        """Feed, and finish the cancels that somebody left, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()
            try:
                await self.stop_canceled(transitions)
                await self.feed()
            except ImagineoError as problem:
                log.debug("the feeder waits: %s", problem)

    async def feed(self) -> int:
        """Release and publish what is due once; gives how many runs were released."""
        slugs = await self._feeding.base_models()
        self._owners = {slug: self._owners.get(slug, 1) for slug in slugs}
        if not self._broker.connected:
            return 0  # nothing is lost by it: what is released now could not be drawn either
        return sum([await self._feed(slug) for slug in slugs])

    async def stop_canceled(self, transitions: Transitions) -> None:
        """Stop the items of all batches that were asked to stop."""
        while run_ids := await self._batches.left_to_cancel(_CANCEL_BATCH):
            await asyncio.gather(*(transitions.apply(Word(run_id, Cancellation())) for run_id in run_ids))
        await self._batches.end_cancels()

    async def _feed(self, slug: str) -> int:
        window = window_of(self._workers.slots(slug, time.monotonic()))
        feeds = await self._feeding.feeds(slug, window)
        self._owners[slug] = len({feed.organization_id for feed in feeds if feed.held_count})
        if not turns(window, feeds) and any(feed.held_count for feed in feeds):
            return 0
        released = await self._feeding.release(slug, window)
        sequences = await asyncio.gather(*(self._publish(row) for row in released))
        published = [(row["run_id"], sequence) for row, sequence in zip(released, sequences, strict=True) if sequence]
        if published:
            await self._dispatch.mark_published(published)
        for row in released:
            self._changed(row["run_id"])
        return len(released)

    async def _publish(self, row: Mapping[str, Any]) -> int | None:
        job = job_pb2.Job.FromString(row["job"])
        try:
            subject = subjects.job(job.base_model_slug, job.lane)
            with tracing.continued(job.trace):
                return await self._broker.publish_job(subject, row["job"], message_id=row["run_id"])
        except Unavailable:
            return None  # left to the relay
