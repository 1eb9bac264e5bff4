"""A job is drawn where its LoRAs lie: whoever pulls it cold passes it on to their home, which keeps them in memory.

By the beats of the others and what is passed on to them, which all hear; and bounded so that it costs next to nothing
where it is wrong: a job is passed on once, at its first delivery; only to a worker that was heard of just now, draws
with its base model, has room, and is not much busier than the others. If the other does not take it, it is taken by
anyone's next look into the queue, within a second. Which worker is the home is `placement`'s rule.
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

from services.worker.placement import Demand, Ring, Standing, better_place, homes_count

#: Two beats and a half.
_FRESH_S: Final = 5.0
#: How long this worker keeps out of the way of the one that a job was passed on to.
_ASIDE_S: Final = 0.05


@dataclass(slots=True)
class _Peer:
    slugs: frozenset[str]
    slots: int
    running_count: int
    heard_s: float


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
        self._names: dict[str, str] = {}
        """The peers by the subject that they are nudged on."""
        self._ring = Ring()
        self._ring.add(worker_id)
        self._demand = Demand()

    async def on_beat(self, _subject: str, body: bytes) -> None:
        """Handle a beat of any worker."""
        with contextlib.suppress(DecodeError):
            beat = event_pb2.WorkerBeat.FromString(body)
            if beat.worker_id and beat.worker_id != self._worker_id:
                slugs, count = frozenset(beat.base_model_slugs), len(beat.running_run_ids)
                self._peers[beat.worker_id] = _Peer(slugs, beat.slots, count, self._clock())
                self._names[subjects.nudge(beat.worker_id)] = beat.worker_id
                self._ring.add(beat.worker_id)

    async def on_nudge(self, subject: str, body: bytes) -> None:
        """Handle the word that a job was passed on to any worker: `body` is the LoRA; empty where it is said again."""
        if body:
            self._demand.note(body.decode(errors="replace"), self._clock())
            peer = self._peers.get(self._names.get(subject, ""))
            if peer is not None:
                peer.running_count += 1

    async def passed_on(self, job: job_pb2.Job, delivery: Delivery) -> bool:
        """Whether the job was left to the home of its LoRAs; then the delivery is settled.

        Raises:
            Unavailable: if the broker is away; the delivery comes again.
        """
        if delivery.delivered_count != 1:
            return False
        wanted = [one.model_id for one in job.adapters if one.weight != 0]
        if not wanted or set(wanted).issubset(self._warm_model_ids()):
            return False
        home = self._home(wanted[0], job.base_model_slug)
        if home is None:
            return False
        nudge = subjects.nudge(home)
        await delivery.nak()
        await self._broker.emit(nudge, wanted[0].encode())
        await asyncio.sleep(_ASIDE_S)
        # Once more: the job may have come back to its queue a little later than the word of it.
        await self._broker.emit(nudge, b"")
        return True

    def _home(self, model_id: str, base_model_slug: str) -> str | None:
        """The better place for a run by its first LoRA, as that is what others find it by too."""
        self._forget_silent()
        own_count = self._running_count()
        counts = [peer.running_count for peer in self._peers.values() if base_model_slug in peer.slugs]
        workers_count = len(counts) + 1

        def standing_of(worker_id: str) -> Standing | None:
            peer = self._peers.get(worker_id)
            draws = peer is not None and base_model_slug in peer.slugs
            return Standing(peer.running_count, peer.slots) if peer is not None and draws else None

        return better_place(
            self._ring.homes(model_id),
            homes_count(self._demand.share(model_id), workers_count),
            self._worker_id,
            total_count=sum(counts) + own_count,
            workers_count=workers_count,
            standing_of=standing_of,
        )

    def _forget_silent(self) -> None:
        now_s = self._clock()
        for worker_id in [name for name, peer in self._peers.items() if now_s - peer.heard_s > _FRESH_S]:
            del self._peers[worker_id], self._names[subjects.nudge(worker_id)]
            self._ring.remove(worker_id)
