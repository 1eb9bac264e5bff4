"""The event loop: a fleet under the platform's rules, or under some of them."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import Final

from imagineo.v1 import job_pb2

from services.worker.intake import AHEAD_PAUSE_S
from services.worker.placement import Demand, Ring, Standing, better_place, homes_count
from tests.bench.fleet.autoscaler import Autoscaler
from tests.bench.fleet.device import Device
from tests.bench.fleet.homes import Homes
from tests.bench.fleet.queues import Queues, Shelf
from tests.bench.fleet.traffic import Traffic
from tests.bench.fleet.workers import BatchingWorker, Crowd, Run

#: From the hand-back of a delivery until the worker that was nudged has it: three messages.
HOP_S: Final = 0.005
#: How often batches are fed: a look is a transaction, and endings meanwhile wait for the next.
FEED_S: Final = 0.25
READY, LEAVE, PASSED, FEED, SCALE, POD, ASK = range(7)


@dataclass(frozen=True)
class Rules:
    """What of the platform is in force."""

    affinity: bool = True
    fairness: bool = True
    """Lanes, batches fed in turn, and tenants in turn on the device; else one queue, first in, first out."""
    autoscaler: Autoscaler | None = None


@dataclass
class Outcome:
    """What became of each run, by its number, and of the devices."""

    began_s: list[float]
    ended_s: list[float]
    found: list[int]
    busy_s: float = 0.0
    alive_s: float = 0.0
    pods: list[tuple[float, int]] = field(default_factory=list)
    passed_count: int = 0
    ends_s: float = 0.0


class Fleet:
    """All workers of one base model."""

    def __init__(self, device: Device, devices: int, traffic: Traffic, rules: Rules, seed: int) -> None:
        self._device, self._traffic, self._rules = device, traffic, rules
        self._draw = random.Random(seed)  # noqa: S311 - it picks the worker that happens to ask first
        self._queues, self._shelf = Queues(), Shelf(traffic.plans)
        self._workers = [BatchingWorker(n, device, shares_fairly=rules.fairness) for n in range(devices)]
        self._by_name = {worker.name: worker for worker in self._workers}
        self._ring, self._demand = Ring(), Demand()
        self._homes: dict[int, Homes] = {}
        self._free, self._ahead = Crowd(), Crowd()
        self._running = 0
        self._live = 0
        self._events: list[tuple[float, int, int, int, Run | None]] = []
        self._sequence = 0
        count = len(traffic.at_s)
        self.outcome = Outcome([float("inf")] * count, [float("inf")] * count, [-1] * count)
        self._is_feeding = False

    def run(self) -> Outcome:
        """Simulate until every run has ended."""
        scaler = self._rules.autoscaler
        for worker in self._workers if scaler is None else self._workers[: scaler.minimum]:
            self._open(worker)
        if scaler is not None:
            self._at(0.0, SCALE)
        now_s = self._loop()
        self.outcome.busy_s = sum(worker.busy_s for worker in self._workers)
        self.outcome.ends_s = now_s
        if self._rules.autoscaler is None:
            self.outcome.alive_s = now_s * len(self._workers)
        return self.outcome

    def _loop(self) -> float:
        arrivals, index, count = self._traffic.at_s, 0, len(self._traffic.at_s)
        events, now_s, ended = self._events, 0.0, self.outcome.ended_s
        while True:
            if index < count and (not events or arrivals[index] <= events[0][0]):
                now_s = arrivals[index]
                self._arrive(index, now_s)
                index += 1
                continue
            if index >= count and not (self._running or self._queues.count or self._shelf.held_count):
                return max(ended)
            now_s, _, kind, number, run = heapq.heappop(events)
            if kind == LEAVE:
                self._leave(number, now_s)
            elif kind == READY:
                self._join(self._workers[number], run, now_s)
            elif kind == PASSED:
                self._passed(self._workers[number], run, now_s)
            elif kind == FEED:
                self._feed(now_s)
            elif kind == SCALE:
                self._scale(now_s)
            elif kind == ASK:
                self._ask(self._workers[number], now_s)
            else:
                self._rules.autoscaler.starting.discard(number)
                self._open(self._workers[number], now_s)
                self._fill(self._workers[number], now_s)

    def _at(self, at_s: float, kind: int, number: int = 0, run: Run | None = None) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (at_s, self._sequence, kind, number, run))

    def _arrive(self, index: int, now_s: float) -> None:
        traffic = self._traffic
        tenant = traffic.tenant[index]
        lane = traffic.lanes[tenant] if self._rules.fairness else job_pb2.LANE_FREE
        run = Run(index, tenant, lane, traffic.lora[index], traffic.steps[index], traffic.batch[index], now_s)
        if run.batch >= 0 and self._rules.fairness:
            self._shelf.put(run)
            self._wake_feeder(now_s)
            return
        self._shelf.begin(run)
        self._publish(run, now_s)

    def _publish(self, run: Run, now_s: float) -> None:
        self._queues.put(run)
        self._wake_one(now_s)

    def _wake_one(self, now_s: float) -> None:
        """All with room are woken; whoever asks first gets the job, and those whose step is full ask later."""
        if self._free:
            self._fill(self._free.any(self._draw), now_s)
        elif self._ahead:
            self._ask_later(self._ahead.any(self._draw), now_s)

    def _ask_later(self, worker: BatchingWorker, now_s: float) -> None:
        if not worker.is_asking_later:
            worker.is_asking_later = True
            self._at(now_s + AHEAD_PAUSE_S, ASK, worker.number)

    def _ask(self, worker: BatchingWorker, now_s: float) -> None:
        """One more job for a worker whose step is full, if nobody took it meanwhile."""
        worker.is_asking_later = False
        if self._queues.count and worker.has_room:
            self._pull(worker, now_s)
        self._fill(worker, now_s)

    def _fill(self, worker: BatchingWorker, now_s: float) -> None:
        """Pull as long as a step has room, and there is something to pull."""
        while worker.has_room_in_step and self._queues.count and self._pull(worker, now_s):
            pass
        if self._queues.count and worker.has_room:
            self._ask_later(worker, now_s)
        self._note_room(worker)

    def _pull(self, worker: BatchingWorker, now_s: float) -> bool:
        run, queue = self._queues.take_from(worker.lanes.order())
        if run is None or queue is None:
            return False
        worker.lanes.taken(queue)
        self._pulled(worker, run, now_s)
        return True

    def _pulled(self, worker: BatchingWorker, run: Run, now_s: float) -> None:
        if self._rules.affinity and run.delivered_count == 1 and run.lora not in worker.memory:
            other = self._better(worker, run, now_s)
            if other is not None:
                self.outcome.passed_count += 1
                self._running += 1
                self._at(now_s + HOP_S, PASSED, other.number, run)
                return
        worker.take(now_s)
        self._running += 1
        found, ready_s = worker.memory.hold(run.lora, now_s)
        self.outcome.found[run.number] = found
        if ready_s > now_s:
            self._at(ready_s, READY, worker.number, run)
        else:
            self._join(worker, run, now_s)

    def _better(self, worker: BatchingWorker, run: Run, now_s: float) -> BatchingWorker | None:
        """The real rule, on what the worker heard of the others and passed on to them since."""

        def standing_of(name: str) -> Standing:
            peer = self._by_name[name]
            return Standing(peer.count_heard(now_s), peer.slots)

        key = f"model_{run.lora}"
        homes = self._homes.get(run.lora)
        if homes is None:
            homes = self._homes[run.lora] = Homes(self._ring.homes(key))
        name = better_place(
            iter(homes),
            homes_count(self._demand.share(key), self._live),
            worker.name,
            total_count=self._running,
            workers_count=self._live,
            standing_of=standing_of,
        )
        if name is None:
            return None
        self._demand.note(key, now_s)
        peer = self._by_name[name]
        peer.passed_on(now_s)
        return peer

    def _passed(self, worker: BatchingWorker, run: Run, now_s: float) -> None:
        """The run is in its queue again; the worker that was nudged looks first, then anyone with room."""
        self._running -= 1
        self._queues.hand_back(run)
        self._fill(worker, now_s)
        if self._queues.count:
            self._wake_one(now_s)

    def _join(self, worker: BatchingWorker, run: Run, now_s: float) -> None:
        began = worker.join(run, now_s)
        if began:
            self._begin(began, now_s)
            self._foresee(worker, now_s)

    def _leave(self, number: int, now_s: float) -> None:
        version, number = divmod(number, len(self._workers))
        worker = self._workers[number]
        if version != worker.version:
            return
        ended, began = worker.leave(now_s)
        self._running -= len(ended)
        for run in ended:
            self.outcome.ended_s[run.number] = now_s
            self._shelf.ended(run)
        self._begin(began, now_s)
        self._foresee(worker, now_s)
        self._fill(worker, now_s)
        if ended and self._shelf.held_count:
            self._wake_feeder(now_s)

    def _begin(self, runs: list[Run], now_s: float) -> None:
        for run in runs:
            self.outcome.began_s[run.number] = now_s

    def _foresee(self, worker: BatchingWorker, now_s: float) -> None:
        end_s = worker.next_end_s(now_s)
        if end_s is not None:
            self._at(end_s, LEAVE, worker.version * len(self._workers) + worker.number)

    def _note_room(self, worker: BatchingWorker) -> None:
        self._free.note(worker, is_in=worker.has_room_in_step)
        self._ahead.note(worker, is_in=worker.has_room and not worker.has_room_in_step)

    def _wake_feeder(self, now_s: float) -> None:
        if not self._is_feeding:
            self._is_feeding = True
            self._at(now_s + FEED_S, FEED)

    def _feed(self, now_s: float) -> None:
        self._is_feeding = False
        for run in self._shelf.release(self._live * self._device.slots, now_s):
            self._publish(run, now_s)
        if self._shelf.held_count and not self._running:
            self._wake_feeder(now_s)

    def _open(self, worker: BatchingWorker, now_s: float = 0.0) -> None:
        worker.is_pulling = True
        self._live += 1
        self._ring.add(worker.name)
        self._homes.clear()
        self._note_room(worker)
        if self._shelf.held_count:
            self._wake_feeder(now_s)

    def _close(self, worker: BatchingWorker) -> None:
        """It drains: what it has in hand it finishes."""
        worker.is_pulling = False
        self._live -= 1
        self._ring.remove(worker.name)
        self._homes.clear()
        self._note_room(worker)

    def _scale(self, now_s: float) -> None:
        scaler = self._rules.autoscaler
        assert scaler is not None
        live = [worker for worker in self._workers if worker.is_pulling]
        pods = len(live) + len(scaler.starting)
        wanted = scaler.wanted(self._queues.count + self._running, pods, now_s)
        self.outcome.alive_s += scaler.SYNC_S * pods
        self.outcome.pods.append((now_s, pods))
        closed = [w for w in self._workers if not w.is_pulling and not w.count and w.number not in scaler.starting]
        for worker in closed[: max(0, wanted - pods)]:
            scaler.starting.add(worker.number)
            self._at(now_s + self._device.cold_s, POD, worker.number)
        for worker in live[max(0, len(live) - max(0, pods - wanted)) :]:
            self._close(worker)
        self._at(now_s + scaler.SYNC_S, SCALE)
