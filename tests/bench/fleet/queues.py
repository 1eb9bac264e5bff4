"""The queues of the simulated stream and what stands before them: batches that wait for the feeder."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

from services.auth.plans import PLAN_LIMITS, Plan
from services.status.turns import Feed, turns, window_of
from services.worker.lanes import Queue
from tests.bench.fleet.workers import Run


class Queues:
    """One first-in first-out queue for each lane; what was handed back goes first."""

    def __init__(self) -> None:
        self._runs: dict[int, collections.deque[Run]] = collections.defaultdict(collections.deque)
        self.count = 0

    def put(self, run: Run) -> None:
        """Publish a job."""
        self._runs[run.lane].append(run)
        self.count += 1

    def hand_back(self, run: Run) -> None:
        """Give a delivery back."""
        self._runs[run.lane].appendleft(run)
        self.count += 1

    def take(self, lane: int) -> Run | None:
        """Ask one queue for a job."""
        runs = self._runs.get(lane)
        if not runs:
            return None
        self.count -= 1
        run = runs.popleft()
        run.delivered_count += 1
        return run

    def take_from(self, order: list[Queue]) -> tuple[Run | None, Queue | None]:
        """Ask the queues one after the other."""
        for queue in order:
            run = self.take(queue.lane)
            if run is not None:
                return run, queue
        return None, None

    def head(self, lane: int) -> Run | None:
        """The next one of a queue, left there."""
        runs = self._runs.get(lane)
        return runs[0] if runs else None


@dataclass(slots=True)
class _Batch:
    number: int
    owner: int
    lane: int
    held: collections.deque[Run] = field(default_factory=collections.deque)
    flying: int = 0
    released_at_s: float = float("-inf")


class Shelf:
    """Batches: held items are released by the real `turns`, within the real window."""

    def __init__(self, plans: list[Plan]) -> None:
        self._limits = [PLAN_LIMITS[plan].queued_runs for plan in plans]
        self._batches: dict[int, _Batch] = {}
        self._unfinished: collections.Counter[int] = collections.Counter()
        self.held_count = 0

    def put(self, run: Run) -> None:
        """Hold an item of a batch."""
        batch = self._batches.get(run.batch)
        if batch is None:
            batch = self._batches[run.batch] = _Batch(run.batch, run.organization_id, run.lane)
        batch.held.append(run)
        self.held_count += 1

    def begin(self, run: Run) -> None:
        """Count a run against its owner's limit."""
        self._unfinished[run.organization_id] += 1

    def ended(self, run: Run) -> None:
        """Note that a run ended."""
        self._unfinished[run.organization_id] -= 1
        batch = self._batches.get(run.batch)
        if batch is not None:
            batch.flying -= 1
            if not batch.flying and not batch.held:
                del self._batches[run.batch]

    def release(self, slots_count: int, now_s: float) -> list[Run]:
        """What the feeder releases in one look."""
        window = window_of(slots_count)
        flying = sum(batch.flying for batch in self._batches.values())
        most = max(1, window - flying)
        feeds = [self._feed(batch, most) for batch in self._batches.values()]
        released = []
        for batch_id, count in turns(window, feeds).items():
            batch = self._batches[int(batch_id)]
            batch.released_at_s = now_s
            batch.flying += count
            self.held_count -= count
            for _ in range(count):
                run = batch.held.popleft()
                self.begin(run)
                released.append(run)
        return released

    def _feed(self, batch: _Batch, most: int) -> Feed:
        limit = self._limits[batch.owner]
        return Feed(
            batch_id=str(batch.number),
            organization_id=str(batch.owner),
            lane=batch.lane,
            held_count=min(len(batch.held), most),
            flying_count=batch.flying,
            room_count=limit - self._unfinished[batch.owner],
            queued_runs_limit=limit,
            released_at_s=batch.released_at_s,
        )
