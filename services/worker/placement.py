"""Which worker is the home of a LoRA: the rule behind `affinity`. Pure.

Workers stand on a ring, each at many points. A LoRA's homes are the first workers met from its own point on, one for
most LoRAs, and more for one that is asked for so much that its runs fill more; a run goes to the least busy of them. So
all memories together hold many LoRAs, no LoRA crowds others out of their homes, and a worker that comes or goes moves
its own share of them alone. Nobody needs to know what the others hold.
Source: Karger et al. 1997, "Consistent Hashing and Random Trees"; Mirrokni et al. 2018, "Consistent Hashing with
Bounded Loads".
"""

from __future__ import annotations

import hashlib
import itertools
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from services.worker.engine.base import AHEAD_COUNT

#: Points of one worker: with so many the largest share of the ring is a third above the mean.
_POINTS: Final = 64
#: A home may have three times the runs that others have in the mean, so that what is asked for seldom is found there,
#: and a burst lies in few memories; but each of the homes that one LoRA fills all the time a quarter more, so that what
#: everybody asks for crowds nobody out of his home.
_FULL_RATIO: Final = 3.0
_SHARED_RATIO: Final = 1.25
#: A worker is not full with fewer, however idle the others are: the mean is next to nothing then, and runs sent on for
#: the sake of it would fetch their LoRA again elsewhere.
_NEVER_FULL: Final = 3
#: So many times the homes that a LoRA's runs would just fill: each brings what room its others leave.
_SPREAD_RATIO: Final = 4.0
#: Where a LoRA's homes are full, so many others are asked: as many as a large batch of one LoRA fills, so that it lies
#: in the memories of the same workers next time. A look at all of them takes a millisecond.
_MORE_HOMES: Final = 256
#: What was asked for so long ago counts for half: a burst is no demand that lasts.
_HALF_LIFE_S: Final = 3_600.0


class Standing(NamedTuple):
    """What a place is judged by."""

    running_count: int
    """Runs in hand, and those that were passed on to it since it was heard."""
    slots: int
    """How many it draws at once."""


class Ring:
    """The workers, in an order of their own for each key."""

    def __init__(self) -> None:
        self._points: list[tuple[int, str]] = []
        self._workers: set[str] = set()

    def __len__(self) -> int:
        return len(self._workers)

    def __contains__(self, worker_id: str) -> bool:
        return worker_id in self._workers

    def add(self, worker_id: str) -> None:
        """Let a worker stand on the ring; a second time changes nothing."""
        if worker_id not in self._workers:
            self._workers.add(worker_id)
            for number in range(_POINTS):
                insort(self._points, (_point(f"{worker_id}/{number}"), worker_id))

    def remove(self, worker_id: str) -> None:
        """Take a worker off the ring; one that is not there changes nothing."""
        if worker_id in self._workers:
            self._workers.remove(worker_id)
            for number in range(_POINTS):
                del self._points[bisect_left(self._points, (_point(f"{worker_id}/{number}"), worker_id))]

    def homes(self, key: str) -> Iterator[str]:
        """The workers from the key's point on, each once."""
        start, count = bisect_right(self._points, (_point(key), "")), len(self._points)
        seen: set[str] = set()
        for index in range(start, start + count):
            worker_id = self._points[index % count][1]
            if worker_id not in seen:
                seen.add(worker_id)
                yield worker_id


class Demand:
    """How much of all that is asked for each key is, of late."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}
        self._total = 0.0
        self._since_s: float | None = None

    def note(self, key: str, now_s: float) -> None:
        """Take in that the key was asked for."""
        self._fade(now_s)
        self._counts[key] = self._counts.get(key, 0.0) + 1
        self._total += 1

    def share(self, key: str) -> float:
        """The key's part of all, 0 to 1."""
        return self._counts.get(key, 0.0) / self._total if self._total else 0.0

    def _fade(self, now_s: float) -> None:
        """Halve everything once in a half-life, and forget what is next to nothing."""
        if self._since_s is None:
            self._since_s = now_s
        while now_s - self._since_s >= _HALF_LIFE_S:
            self._since_s += _HALF_LIFE_S
            self._counts = {key: count / 2 for key, count in self._counts.items() if count > 1}
            self._total = sum(self._counts.values())
            if not self._counts:
                self._since_s = now_s


def homes_count(share: float, workers_count: int) -> int:
    """How many homes a LoRA has that is so large a share of all runs."""
    return max(1, math.ceil(_SPREAD_RATIO * share * workers_count))


def better_place(
    homes: Iterator[str],
    count: int,
    own_id: str,
    *,
    total_count: int,
    workers_count: int,
    standing_of: Callable[[str], Standing | None],
) -> str | None:
    """The worker that a run should be drawn by in place of this one; None where this one is as good.

    It is the least busy of the LoRA's homes; where none of them has room, the next on the ring that has.

    Args:
        homes: All workers in the LoRA's order.
        count: How many of them are its homes.
        own_id: Who asks.
        total_count: How many runs all workers have in hand.
        workers_count: How many workers there are, this one among them.
        standing_of: What is known of another; None where it is not heard any more or does not draw with the base model.
    """
    best: tuple[int, str] | None = None
    for number, worker_id in enumerate(itertools.islice(homes, count + _MORE_HOMES)):
        if number >= count and best is not None:
            break
        if worker_id == own_id:
            return None
        standing = standing_of(worker_id)
        if standing is None:
            continue
        ratio, others_count = _ratio(number, count), total_count - standing.running_count
        most = max(_NEVER_FULL, math.ceil(ratio * others_count / max(1, workers_count - 1)))
        if standing.running_count < min(most, standing.slots - AHEAD_COUNT):
            best = min(best or (standing.running_count, worker_id), (standing.running_count, worker_id))
    return best[1] if best else None


def _ratio(number: int, count: int) -> float:
    """How many runs a home may have over what the others have in the mean."""
    return _SHARED_RATIO if 0 < number < count else _FULL_RATIO


def _point(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
