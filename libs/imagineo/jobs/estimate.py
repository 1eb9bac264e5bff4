"""How long a run should take from now, and why it waits: from the work queued before it and the workers' speed.

Work is counted in megapixel-steps: width * height / 10^6 * denoising steps.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from imagineo.jobs.lanes import Lane, share
from imagineo.v1 import generation_pb2

#: Assumed of a worker that has not measured itself, and of the one that is waited for, in megapixel-steps per second.
DEFAULT_SPEED: Final = 2.0
#: Enlarging counts as so many steps of the picture that is enlarged.
UPSCALE_STEPS: Final = 20
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
    running_count: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one worker draws, in megapixel-steps per second; 0 where it does not know yet."""

    total: float = 0.0
    """All runs together that it draws at once."""
    each: float = 0.0
    """One of them."""
    slots: int = 1
    """How many it draws at once."""

    @property
    def known_total(self) -> float:
        """What to reckon with."""
        return self.total if self.total > 0 else DEFAULT_SPEED

    @property
    def known_each(self) -> float:
        """What to reckon with for one run."""
        return self.each if self.each > 0 else self.known_total


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
    """Megapixel-steps of one run: of a variation those that are made, of an upscale as many as `UPSCALE_STEPS` says."""
    source, steps = parameters.source, parameters.steps
    if source.kind == generation_pb2.SOURCE_KIND_UPSCALE:
        return source.image.width * source.image.height * UPSCALE_STEPS / 1e6
    if source.kind == generation_pb2.SOURCE_KIND_VARIATION:
        steps = min(int(steps * source.strength), steps)
    return parameters.width * parameters.height * steps / 1e6


def position(place: Place, queue: Queue) -> int:
    """How many queued runs are served before this one."""
    return sum(share(place.lane, place.before_count, queue.waiting_count).values())


def queued_s(place: Place, queue: Queue, paces: Sequence[Pace]) -> int:
    """Whole seconds, at least 1, until a queued run should be done; `paces` are the live workers'.

    A run begins at once where a slot is free. Else so many of those before it must end first as are too many for the
    slots; from then on it gets on as fast as one run does beside the others.
    """
    known = list(paces) or [Pace()]
    total = sum(pace.known_total for pace in known)
    ahead_count, ahead_work = 0, place.before_work
    for lane, count in share(place.lane, place.before_count, queue.waiting_count).items():
        ahead_count += count
        waiting = queue.waiting_count.get(lane, 0)
        if lane != place.lane and waiting > 0:
            ahead_work += queue.waiting_work.get(lane, 0.0) * count / waiting
    before_count = ahead_count + queue.running_count
    ends = max(0, before_count + 1 - sum(pace.slots for pace in known))
    wait_work = ends * (ahead_work + queue.running_work) / before_count if before_count else 0.0
    mean_each = sum(pace.known_each for pace in known) / len(known)
    if queue.running_count and all(pace.total > 0 for pace in known):
        # One run's pace as it was of late, and as it should be beside those that run now: the truth lies between, and
        # nearer to what is known of now.
        beside = min(queue.running_count + 1, sum(pace.slots for pace in known))
        mean_each = mean_each ** (1 / 3) * (total / beside) ** (2 / 3)
    # A pace next to nothing may have become nothing on the way.
    return _whole(wait_work / total + place.own_work / max(mean_each, sys.float_info.min))


def running_s(own_work: float, progress: int, paces: Sequence[Pace]) -> int:
    """Whole seconds, at least 1, until a running run should be done; `progress` is 0 to 100."""
    known = [pace for pace in paces if pace.each > 0 or pace.total > 0] or [Pace()]
    return _whole(own_work * (1 - progress / 100) / (sum(pace.known_each for pace in known) / len(known)))


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
