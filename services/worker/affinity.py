"""A job prefers a worker that holds its LoRAs in memory already: whoever pulls it cold passes it on to such a one.

By the beats of the others alone, and bounded so that it costs next to nothing where it is wrong: a job is passed on
once, at its first delivery; only to a worker that was heard of just now, draws with its base model, has room, and is
no busier than this one, so that warmth decides between equals and never piles work up. If the other does not take it,
it is taken by anyone's next look into the queue, within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from imagineo.broker import subjects
from imagineo.broker.port import Broker, Delivery
from imagineo.v1 import event_pb2, job_pb2

#: Two beats and a half.
_FRESH_S: Final = 5.0
#: How long this worker keeps out of the way of the one that a job was passed on to.
_ASIDE_S: Final = 0.05


@dataclass(slots=True)
class _Peer:
    beat: event_pb2.WorkerBeat
    heard_s: float
    passed_count: int = 0
    """Jobs passed on to it since."""


class Affinity:
    """The other workers as their beats show them. Used on one event loop."""

    def __init__(
        self,
        broker: Broker,
        worker_id: str,
        *,
        warm_model_ids: Callable[[], Collection[str]],
        running_count: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._worker_id = worker_id
        self._warm_model_ids = warm_model_ids
        self._running_count = running_count
        self._clock = clock
        self._peers: dict[str, _Peer] = {}

    async def on_beat(self, _subject: str, body: bytes) -> None:
        """Handle a beat of any worker."""
        with contextlib.suppress(DecodeError):
            beat = event_pb2.WorkerBeat.FromString(body)
            if beat.worker_id != self._worker_id:
                self._peers[beat.worker_id] = _Peer(beat, self._clock())

    async def passed_on(self, job: job_pb2.Job, delivery: Delivery) -> bool:
        """Whether the job was left to a worker that holds its LoRAs; then the delivery is settled.

        Raises:
            Unavailable: if the broker is away; the delivery comes again.
        """
        peer = self._warmer(job) if delivery.delivered_count == 1 else None
        if peer is None:
            return False
        peer.passed_count += 1
        nudge = subjects.nudge(peer.beat.worker_id)
        await delivery.nak()
        await self._broker.emit(nudge, b"")
        await asyncio.sleep(_ASIDE_S)
        # Once more: the job may have come back to its queue a little later than the word of it.
        await self._broker.emit(nudge, b"")
        return True

    def _warmer(self, job: job_pb2.Job) -> _Peer | None:
        wanted = {one.model_id for one in job.adapters if one.weight != 0}
        cold = wanted.difference(self._warm_model_ids())
        if not cold:
            return None
        now_s, own_count = self._clock(), self._running_count()
        self._peers = {name: peer for name, peer in self._peers.items() if now_s - peer.heard_s <= _FRESH_S}
        for _, peer in sorted(self._peers.items()):
            count = len(peer.beat.running_run_ids) + peer.passed_count
            is_warm = cold.issubset(peer.beat.warm_model_ids)
            has_room = count < peer.beat.slots and count <= own_count
            if is_warm and has_room and job.base_model_slug in peer.beat.base_model_slugs:
                return peer
        return None
