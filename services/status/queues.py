"""A recent picture of the queues in memory, for estimates: read once a second, added to by each acceptance."""

from __future__ import annotations

import dataclasses
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from imagineo.jobs import estimate
from imagineo.jobs.estimate import Pace, Place, Queue, work_of
from imagineo.v1 import job_pb2

from services.status.repository.listing import Landmark, Lane
from services.status.workers import Workers


class Queues:
    """Estimates from the last picture; it may be two seconds old, which an estimate bears."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._queues: dict[str, Queue] = {}
        self._landmarks: Mapping[Lane, Sequence[Landmark]] = {}

    def replace(self, queues: dict[str, Queue], landmarks: Mapping[Lane, Sequence[Landmark]]) -> None:
        """Take a new picture."""
        self._queues, self._landmarks = queues, landmarks

    def landmark(self, lane: Lane, run_id: str) -> Landmark:
        """The last known landmark at or before a run; counting goes on from there."""
        marks = self._landmarks.get(lane, ())
        index = bisect_right(marks, run_id, key=lambda mark: mark.run_id)
        return marks[index - 1] if index else Landmark()

    def of(self, base_model_slug: str) -> Queue:
        """What waits and runs for one base model."""
        return self._queues.get(base_model_slug, Queue())

    def lengths(self) -> list[tuple[str, job_pb2.Lane.ValueType, int]]:
        """Base model, lane and how many runs wait there, of all that have any."""
        return sorted(
            (slug, lane, count)
            for slug, queue in self._queues.items()
            for lane, count in queue.waiting_count.items()
            if count
        )

    def paces(self, base_model_slug: str) -> list[Pace]:
        """How fast its live workers draw."""
        return self._workers.paces(base_model_slug, time.monotonic())

    def count_workers(self) -> tuple[int, dict[str, int]]:
        """How many workers fell silent with runs in hand since the last call, and how many live, by base model."""
        now_s = time.monotonic()
        return self._workers.forget_silent(now_s), self._workers.counts(now_s)

    def estimate_s(self, job: job_pb2.Job) -> int:
        """How long a run should take that is accepted now."""
        queue = self.of(job.base_model_slug)
        place = Place(
            job.lane,
            queue.waiting_count.get(job.lane, 0),
            queue.waiting_work.get(job.lane, 0.0),
            work_of(job.parameters),
        )
        return estimate.queued_s(place, queue, self.paces(job.base_model_slug))

    def estimates_s(self, jobs: Sequence[job_pb2.Job]) -> list[int]:
        """How long runs should take that are accepted now, each behind those before it."""
        before = dict(self._queues)
        found = []
        for job in jobs:
            found.append(self.estimate_s(job))
            self.add(job)
        self._queues = before
        return found

    def add(self, job: job_pb2.Job) -> None:
        """Count a run that was accepted since the picture was taken."""
        queue = self.of(job.base_model_slug)
        counts, works = dict(queue.waiting_count), dict(queue.waiting_work)
        counts[job.lane] = counts.get(job.lane, 0) + 1
        works[job.lane] = works.get(job.lane, 0.0) + work_of(job.parameters)
        self._queues[job.base_model_slug] = dataclasses.replace(queue, waiting_count=counts, waiting_work=works)
