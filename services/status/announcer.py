"""Announces endings in the stream EVENTS, at least once each, for those who settle by them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.errors import ImagineoError, Unavailable
from imagineo.v1 import event_pb2
from imagineo.wire.times import timestamp

from services.status.generations import Generation
from services.status.metrics import StatusMetrics, status_word
from services.status.repository.dispatch import Dispatch
from services.status.watch import Read

log = logging.getLogger(__name__)

#: How often it looks for endings of other replicas and of its own past.
LOOK_S = 1.0
_BATCH = 128


class Announcer:
    """Sends what the terminal transactions left in the outbox."""

    def __init__(self, dispatch: Dispatch, read: Read, broker: Broker, metrics: StatusMetrics | None) -> None:
        self._dispatch, self._read, self._broker, self._metrics = dispatch, read, broker, metrics
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Say that there is an ending."""
        self._news.set()

    async def run(self) -> None:
        """Announce, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()
            try:
                while await self.announce() == _BATCH:
                    pass
            except ImagineoError as problem:
                log.debug("the announcer waits: %s", problem)

    async def announce(self) -> int:
        """Announce what is due once; gives how many endings were taken."""
        if not self._broker.connected:
            return 0
        taken = await self._dispatch.take_announcements(_BATCH)
        if not taken:
            return 0
        generations = await self._read([row["run_id"] for row in taken])
        sent = await asyncio.gather(*(self._send(row, generations.get(row["run_id"])) for row in taken))
        done = [run_id for run_id in sent if run_id is not None]
        if done:
            await self._dispatch.drop_announcements(done)
            if self._metrics:
                self._metrics.announced.inc(len(done))
        return len(taken)

    async def _send(self, row: Mapping[str, Any], generation: Generation | None) -> str | None:
        run_id: str = row["run_id"]
        if generation is None:
            return run_id
        occurred_at = timestamp(row["occurred_at"])
        change = event_pb2.GenerationChanged(event_id=row["event_id"], generation=generation, occurred_at=occurred_at)
        subject = subjects.event(status_word(generation.status), run_id)
        try:
            await self._broker.publish_event(subject, change.SerializeToString(), message_id=f"{run_id}.terminal")
        except Unavailable:
            return None
        return run_id
