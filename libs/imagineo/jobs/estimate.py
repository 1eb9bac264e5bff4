"""How long a run should take from now, and why it waits: from the work queued before it and the workers' speed.

Work is counted in megapixel-steps: width * height / 10^6 * denoising steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from imagineo.jobs.lanes import Lane, share
from imagineo.v1 import generation_pb2

#: Assumed of a worker that has not measured itself, and of the one that is waited for, in megapixel-steps per second.
DEFAULT_SPEED: Final = 2.0
#: No estimate exceeds a day: a longer one says nothing.
MAX_ESTIMATE_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits and runs for one base model."""

    waiting_count: Mapping[Lane, int] = field(default_factory=dict)
    waiting_work: Mapping[Lane, float] = field(default_factory=dict)
    """Megapixel-steps of the waiting runs, by lane."""
    running_work: float = 0.0
    """Megapixel-steps still to be drawn of the running ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one queued run stands in its own lane."""

    lane: Lane
    before_count: int
    """Queued lane mates before it."""
    before_work: float
    """Their megapixel-steps."""
    own_work: float


def work_of(parameters: generation_pb2.Parameters) -> float:
    """Megapixel-steps of one run."""
    return parameters.width * parameters.height * parameters.steps / 1e6


def position(place: Place, queue: Queue) -> int:
    """How many queued runs are served before this one."""
    return sum(share(place.lane, place.before_count, queue.waiting_count).values())


def queued_s(place: Place, queue: Queue, speeds: Sequence[float]) -> int:
    """Whole seconds, at least 1, until a queued run should be done; `speeds` are the live workers', 0 where unknown."""
    work = place.before_work + queue.running_work
    for lane, count in share(place.lane, place.before_count, queue.waiting_count).items():
        waiting = queue.waiting_count.get(lane, 0)
        if lane != place.lane and waiting > 0:
            work += queue.waiting_work.get(lane, 0.0) * count / waiting
    known = [speed if speed > 0 else DEFAULT_SPEED for speed in speeds] or [DEFAULT_SPEED]
    mean_speed = sum(known) / len(known)
    return _whole(work / sum(known) + place.own_work / mean_speed)


def running_s(own_work: float, progress: int, speeds: Sequence[float]) -> int:
    """Whole seconds, at least 1, until a running run should be done; `progress` is 0 to 100."""
    known = [speed for speed in speeds if speed > 0] or [DEFAULT_SPEED]
    return _whole(own_work * (1 - progress / 100) / (sum(known) / len(known)))


def waiting_for(before_count: int, workers_count: int, base_model_slug: str) -> str:
    """Say why a queued run waits."""
    if workers_count == 0:
        return f"a worker that draws with {base_model_slug}"
    if before_count == 1:
        return "1 run before it"
    if before_count > 1:
        return f"{before_count} runs before it"
    return "a free worker"


def _whole(seconds: float) -> int:
    if not math.isfinite(seconds):
        return MAX_ESTIMATE_S
    return max(1, min(MAX_ESTIMATE_S, math.ceil(seconds)))
