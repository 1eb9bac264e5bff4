"""Simulated workers: the platform's own, which steps many runs with many LoRAs, and the usual one, with one at a time.

Between two changes all runs of a device get on at the same pace, so that only the changes are events: `progress` counts
the steps that any run present since the start would have made.
"""

from __future__ import annotations

import collections
import heapq
import random
from dataclasses import dataclass
from typing import Final

from services.worker.engine.fairness import next_to_join
from services.worker.engine.residency import Residency
from services.worker.lanes import StrideScheduler
from tests.bench.fleet.device import ROWS, Device

SLUG: Final = "flux"
#: Where a run found its LoRA; the first two are hits: nobody waits for a file.
DEVICE, HOST, READING, DISK, STORE = range(5)


@dataclass(slots=True, eq=False)
class Run:
    """A run, with what the engine's rules ask of one."""

    number: int
    organization_id: int
    lane: int
    lora: int
    steps: int
    batch: int
    at_s: float
    delivered_count: int = 0
    deadline_s: None = None
    has_begun: bool = False
    rows: int = ROWS


class Memory:
    """A worker's LoRAs in three tiers: the engine's residency on the device and in the host, files on the disk."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._placed: Residency[float] = Residency(device.memory_bytes)
        self._host: Residency[bool] = Residency(device.host_bytes)
        self._files: collections.OrderedDict[int, None] = collections.OrderedDict()
        self._most_files = device.disk_bytes // device.lora_bytes

    def __contains__(self, lora: int) -> bool:
        return lora in self._placed or lora in self._host

    def hold(self, lora: int, now_s: float) -> tuple[int, float]:
        """Keep a LoRA on the device; gives where it was and when it is there."""
        key, device = lora, self._device
        self._placed.hold(key)
        ready_s = self._placed.get(key)
        if ready_s is not None:
            return (DEVICE, now_s) if ready_s <= now_s else (READING, ready_s)
        if self._host.get(key):
            found, ready_s = HOST, now_s + device.copy_s
        else:
            found, ready_s = self._read(lora, now_s)
            self._host.put(key, True, device.lora_bytes)
        self._placed.make_room(device.lora_bytes)
        self._placed.put(key, ready_s, device.lora_bytes)
        return found, ready_s

    def let_go(self, lora: int) -> None:
        """Give a hold back."""
        self._placed.let_go(lora)

    def _read(self, lora: int, now_s: float) -> tuple[int, float]:
        found = DISK if lora in self._files else STORE
        self._files[lora] = None
        self._files.move_to_end(lora)
        if len(self._files) > self._most_files:
            self._files.popitem(last=False)
        fetch_s = self._device.fetch_s if found == STORE else 0.0
        return found, now_s + fetch_s + self._device.read_s + self._device.copy_s


class BatchingWorker:
    """The platform's worker: a slot is taken before a job is pulled; runs join and leave between steps."""

    def __init__(self, number: int, device: Device, *, shares_fairly: bool) -> None:
        self.number = number
        self.name = f"worker-{number}"
        self.memory = Memory(device)
        self.lanes = StrideScheduler()
        self.lanes.add(SLUG)
        self.count = 0
        """Runs in hand."""
        self.version = 0
        """Of the next end: a change of the pace makes the one that was foreseen void."""
        self.busy_s = 0.0
        self.is_pulling = False
        self.is_asking_later = False
        self.slots = device.slots
        self._device = device
        self._shares_fairly = shares_fairly
        self._waiting: list[Run] = []
        self._stepping: list[Run] = []
        self._ends: list[tuple[float, int, Run]] = []
        self._progress = 0.0
        self._since_s = 0.0
        self._beat_number = -1
        self._beat_count = 0
        self._passed_number = -1
        self._passed_count = 0

    @property
    def has_room(self) -> bool:
        """Whether it asks for another job."""
        return self.is_pulling and self.count < self.slots

    @property
    def has_room_in_step(self) -> bool:
        """Whether a run that it took now would join the next step."""
        return self.is_pulling and self.count < self._device.runs_cap

    def count_heard(self, now_s: float) -> int:
        """How many runs others think it has: those of its last beat, and those that were passed on to it since."""
        beat = self.beat(now_s)
        count = self._beat_count if self._beat_number == beat else self.count
        return count + self._passed_count if self._passed_number == beat else count

    def passed_on(self, now_s: float) -> None:
        """Note that a job is passed on to it, which all hear."""
        beat = self.beat(now_s)
        self._passed_count = self._passed_count + 1 if self._passed_number == beat else 1
        self._passed_number = beat

    def take(self, now_s: float) -> None:
        """Note that a run is in hand."""
        self._note(now_s)
        self.count += 1

    def join(self, run: Run, now_s: float) -> list[Run]:
        """Let a run whose LoRA is there wait for a step; gives those that begin now."""
        self._waiting.append(run)
        return self._admit(now_s)

    def leave(self, now_s: float) -> tuple[list[Run], list[Run]]:
        """End the runs whose steps are made; gives them, and those that begin in their place."""
        self._advance(now_s)
        self._note(now_s)
        ended = []
        while self._ends and self._ends[0][0] <= self._progress + 1e-6:
            run = heapq.heappop(self._ends)[2]
            self._stepping.remove(run)
            self.memory.let_go(run.lora)
            ended.append(run)
        self.count -= len(ended)
        return ended, self._admit(now_s)

    def next_end_s(self, now_s: float) -> float | None:
        """When the next run ends if nothing changes."""
        self.version += 1
        if not self._ends:
            return None
        return now_s + max(0.0, self._ends[0][0] - self._progress) * self._device.step_s(len(self._stepping))

    def _admit(self, now_s: float) -> list[Run]:
        began: list[Run] = []
        if self._waiting and len(self._stepping) < self._device.runs_cap:
            self._advance(now_s)
        while self._waiting and len(self._stepping) < self._device.runs_cap:
            index = next_to_join(self._waiting, self._stepping) if self._shares_fairly else 0
            run = self._waiting.pop(index)
            run.has_begun = True
            self._stepping.append(run)
            heapq.heappush(self._ends, (self._progress + run.steps, run.number, run))
            began.append(run)
        return began

    def _advance(self, now_s: float) -> None:
        if self._stepping:
            elapsed_s = now_s - self._since_s
            self.busy_s += elapsed_s
            self._progress += elapsed_s / self._device.step_s(len(self._stepping))
        self._since_s = now_s

    def _note(self, now_s: float) -> None:
        beat = self.beat(now_s)
        if beat != self._beat_number:
            self._beat_number, self._beat_count = beat, self.count

    def beat(self, now_s: float) -> int:
        """The number of its last beat: one each two seconds, the workers one after the other."""
        return int(now_s / 2.0 + self.number * 0.618)


class Crowd:
    """Workers of which any one is drawn, in a time that does not grow with them."""

    def __init__(self) -> None:
        self._members: list[BatchingWorker] = []
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def any(self, draw: random.Random) -> BatchingWorker:
        """Give one of them."""
        return draw.choice(self._members)

    def note(self, worker: BatchingWorker, *, is_in: bool) -> None:
        """Let a worker be one of them, or not."""
        if is_in and worker.number not in self._place:
            self._place[worker.number] = len(self._members)
            self._members.append(worker)
        elif not is_in and worker.number in self._place:
            place, last = self._place.pop(worker.number), self._members.pop()
            if last is not worker:
                self._members[place], self._place[last.number] = last, place


class UsualWorker:
    """One stock pipeline: one LoRA at a time, and those requests together that ask for the same one."""

    def __init__(self, number: int, device: Device) -> None:
        self.number = number
        self.memory = Memory(device)
        self.busy_s = 0.0
        self.device = device

    def draw_s(self, runs: list[Run], now_s: float) -> tuple[int, float, float]:
        """Where the LoRA was, when the first step begins and when all of them are done."""
        found, ready_s = self.memory.hold(runs[0].lora, now_s)
        self.memory.let_go(runs[0].lora)
        done_s = ready_s + max(run.steps for run in runs) * self.device.step_s(len(runs))
        self.busy_s += done_s - now_s
        return found, ready_s, done_s
