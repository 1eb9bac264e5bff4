"""Ends runs that time has decided about, and keeps the picture of the queues fresh."""

from __future__ import annotations

import asyncio
import logging

from imagineo.errors import ImagineoError
from imagineo.jobs.states import Inspection

from services.status.metrics import StatusMetrics
from services.status.queues import Queues
from services.status.repository.dispatch import Dispatch
from services.status.repository.listing import Listing
from services.status.repository.runs import Word
from services.status.transitions import Transitions

log = logging.getLogger(__name__)

PASS_S = 1.0
_SHARE = 10


class Sweeper:
    """Looks once a second; every replica may, for each inspection is decided under the run's lock."""

    def __init__(
        self,
        dispatch: Dispatch,
        listing: Listing,
        transitions: Transitions,
        queues: Queues,
        metrics: StatusMetrics | None,
    ) -> None:
        self._dispatch, self._listing, self._transitions = dispatch, listing, transitions
        self._queues, self._metrics = queues, metrics

    async def run(self) -> None:
        """Sweep, for ever; a long queue is looked at less often, for at most a tenth of the time."""
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            try:
                await self.sweep()
                await self.take_picture()
            except ImagineoError as problem:
                log.debug("the sweeper waits: %s", problem)
            await asyncio.sleep(max(PASS_S, _SHARE * (loop.time() - started_s)))

    async def sweep(self) -> None:
        """Inspect what is overdue."""
        overdue = await self._dispatch.overdue()
        await asyncio.gather(*(self._transitions.apply(Word(run_id, Inspection())) for run_id in overdue))

    async def take_picture(self) -> None:
        """Read the queues and the outboxes' sizes."""
        queues, lines = await self._listing.queues()
        self._queues.replace(queues, await self._listing.landmarks())
        if self._metrics:
            self._metrics.show_queues(lines)
            self._metrics.show_outboxes(await self._listing.outbox_sizes())
            lost, counts = self._queues.count_workers()
            self._metrics.workers_lost.inc(lost)
            self._metrics.show_workers(counts)
