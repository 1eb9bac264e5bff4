"""How many rows a step should carry at most: the knee of its measured time over rows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

#: Rows beyond the knee must still gain this much in rows per second for each doubling.
_WORTH_RATIO: Final = 1.05
LADDER: Final = (1, 2, 4, 8, 16, 32)
MOST_ROWS: Final = 64
#: A step slower than this is not asked to carry more: a cancel waits for one step.
_SLOWEST_STEP_S: Final = 2.0
#: Steps that a rung is judged by, the fastest of them: what slows one is often the neighbours'.
_TRIES: Final = 6
#: A step counts for the rung when it carries at least this much of it.
_FULL_RATIO: Final = 0.75


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


#: After so many full steps a cap that memory forced down is raised again; twice as many after each time that it was.
FIRST_PATIENCE: Final = 256
_MOST_PATIENCE: Final = 8192


class RowCap:
    """The most rows of one latent size: a guess from the native size at first, then what its own full steps show.

    While steps are full, the cap is doubled as long as that gains; the rung that does not is left again for good. What
    did not fit into memory may fit later: neighbours come and go. So it is tried again, ever more rarely.
    """

    def __init__(self, rows: int) -> None:
        self.rows = max(1, min(MOST_ROWS, rows))
        self._rates: list[float] = []
        self._below: tuple[int, float] | None = None
        self._is_settled = False
        # What it was before memory forced it down; None where it did not.
        self._before: int | None = None
        self._patience = FIRST_PATIENCE
        self._full_steps = 0
        self._has_regrown = False

    def note(self, rows: int, seconds: float) -> None:
        """Take in how long a step with so many rows took."""
        if rows < _FULL_RATIO * self.rows or seconds <= 0:
            return
        if self._before is not None:
            self._regrow(self._before)
        elif not self._is_settled:
            self._weigh(rows, seconds)

    def lower(self, rows: int) -> None:
        """Note that more rows than these did not fit into memory."""
        if self._has_regrown:
            self._patience = min(_MOST_PATIENCE, 2 * self._patience)
        self._before = max(self.rows, self._before or 0)
        self._full_steps, self._has_regrown = 0, False
        self._rates.clear()
        self.rows = max(1, rows)

    def _regrow(self, before: int) -> None:
        self._full_steps += 1
        if self._full_steps < self._patience:
            return
        self._full_steps, self._has_regrown = 0, True
        self.rows = min(2 * self.rows, before)
        if self.rows == before:
            self._before = None

    def _weigh(self, rows: int, seconds: float) -> None:
        self._rates.append(rows / seconds)
        if len(self._rates) >= _TRIES:
            self._judge(max(self._rates))
            self._rates.clear()

    def _judge(self, rate: float) -> None:
        if self._below is not None and rate < _WORTH_RATIO * self._below[1]:
            self.rows = self._below[0]
            self._is_settled = True
        elif 2 * self.rows > MOST_ROWS or 2 * self.rows / rate > _SLOWEST_STEP_S:
            self._is_settled = True
        else:
            self._below = (self.rows, rate)
            self.rows *= 2
