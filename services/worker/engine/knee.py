"""How many rows a step should carry at most: the knee of its measured time over rows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

#: Rows beyond the knee must still gain this much in rows per second for each doubling.
_WORTH_RATIO: Final = 1.05
LADDER: Final = (1, 2, 4, 8, 16, 32)
#: A step slower than this is not asked to carry more: a cancel waits for one step.
_SLOWEST_STEP_S: Final = 2.0


def knee(seconds: Mapping[int, float]) -> int:
    """The most rows whose throughput is still worth it, from the measured seconds of a step by its rows."""
    best = 1
    for rows in sorted(seconds):
        if rows / seconds[rows] >= _WORTH_RATIO * best / seconds[best]:
            best = rows
    return best


def profile(step_s: Callable[[int], float]) -> dict[int, float]:
    """Measure the ladder; it ends early where steps get slow or two rungs in a row gain nothing."""
    seconds: dict[int, float] = {}
    for rows in _rungs(seconds):
        seconds[rows] = step_s(rows)
    return seconds


def _rungs(seconds: Mapping[int, float]) -> Iterator[int]:
    for index, rows in enumerate(LADDER):
        yield rows
        if seconds[rows] > _SLOWEST_STEP_S:
            return
        if index >= 2 and knee(seconds) < LADDER[index - 1]:
            return
