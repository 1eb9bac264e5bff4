"""Repairs the way of jobs: publishes what nobody published, republishes what the stream lost.

The database is the truth and this its transactional outbox: a job that stands in the stream twice is drawn once, for
the claim decides; a job that stands in it no more is published again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.errors import ImagineoError, Unavailable
from imagineo.telemetry import tracing
from imagineo.v1 import job_pb2

from services.status.metrics import StatusMetrics
from services.status.repository.dispatch import Dispatch

log = logging.getLogger(__name__)

PASS_S = 0.5
#: After a start, workers get this long to renew the leases of what they draw.
PATIENCE_S = 15.0
_BATCH = 128


class Relay:
    """Looks at unfinished runs when they are due; any number of replicas may run it."""

    def __init__(self, dispatch: Dispatch, broker: Broker, metrics: StatusMetrics | None) -> None:
        self._dispatch, self._broker, self._metrics = dispatch, broker, metrics
        self._connections_count = 0

    async def run(self) -> None:
        """Repair, for ever."""
        loop = asyncio.get_running_loop()
        patient_until_s = loop.time() + PATIENCE_S
        while True:
            try:
                taken = await self.look(with_running=loop.time() >= patient_until_s)
            except ImagineoError as problem:
                log.debug("the relay waits: %s", problem)
                taken = 0
            await asyncio.sleep(0 if taken == _BATCH else PASS_S)

    async def look(self, *, with_running: bool = True) -> int:
        """Look at what is due once; gives how many runs were looked at. Nothing is touched while the broker is away."""
        if not self._broker.connected:
            return 0
        connections_count = self._broker.connections_count
        if connections_count != self._connections_count:
            await self._dispatch.hasten()
            self._connections_count = connections_count
        rows = await self._dispatch.take_due(_BATCH, with_running=with_running)
        sequences = await asyncio.gather(*(self._mend(row) for row in rows))
        published = [(row["run_id"], sequence) for row, sequence in zip(rows, sequences, strict=True) if sequence]
        if published:
            await self._dispatch.mark_published(published)
            if self._metrics:
                self._metrics.republished.inc(len(published))
        doubtful = [row["run_id"] for row, sequence in zip(rows, sequences, strict=True) if sequence is None]
        if doubtful:
            await self._dispatch.look_soon(doubtful)
        return len(rows)

    async def _mend(self, row: Mapping[str, Any]) -> int | None:
        """See that the stream has one run's job; its new sequence, 0 if nothing was to be done, None if that failed."""
        run_id, sequence = row["run_id"], row["stream_sequence"]
        if not row["queued"] and not row["is_abandoned"]:
            return 0
        if sequence is not None:
            exists = await self._broker.job_exists(sequence, run_id)
            if exists is not False:
                return 0 if exists else None
        # The first publication bears the gateway's own message id, so that the two are one.
        is_first = sequence is None and row["attempt"] == 0 and row["publications"] == 0
        message_id = run_id if is_first else f"{run_id}.{row['publications'] + row['attempt']}"
        job = job_pb2.Job.FromString(row["job"])
        try:
            subject = subjects.job(job.base_model_slug, job.lane)
            with tracing.continued(job.trace):
                return await self._broker.publish_job(subject, row["job"], message_id=message_id)
        except Unavailable:
            return None
