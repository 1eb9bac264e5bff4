"""How fast this worker draws, in megapixel-steps per second of the size asked: what estimates are made from. Pure.

`total` is what all runs together get done while there are any, `each` how fast one of them gets on beside the others.
"""

from __future__ import annotations

from dataclasses import dataclass

#: How much of what is known is forgotten with each run.
FORGOTTEN_RATIO = 0.03
#: How much the newest run counts for the pace of one: who else is there changes faster than what the device can do.
NEWEST_RATIO = 0.2


@dataclass(slots=True)
class Speed:
    """Means that follow the newest runs; 0 until the first run is drawn. Times are monotonic seconds."""

    each: float = 0.0
    _work: float = 0.0
    _busy_s: float = 0.0
    _fresh_s: float = 0.0
    """Busy since the last run that counted."""
    _running_count: int = 0
    _since_s: float = 0.0

    @property
    def total(self) -> float:
        """Megapixel-steps per second of all runs together, while any is drawn."""
        return self._work / self._busy_s if self._busy_s > 0 and self._work > 0 else 0.0

    def begin(self, now_s: float) -> None:
        """A run begins to be drawn."""
        self._pass(now_s)
        self._running_count += 1

    def end(self, now_s: float, *, work: float = 0.0, device_s: float = 0.0) -> None:
        """A run is drawn no more; `work` is what it got done in `device_s` seconds, 0 where it was given up."""
        self._pass(now_s)
        self._running_count -= 1
        if work <= 0 or device_s <= 0:
            return
        keep = 1 - FORGOTTEN_RATIO
        self._work, self._busy_s = self._work * keep + work, self._busy_s * keep + self._fresh_s
        self._fresh_s = 0.0
        newest = work / device_s
        self.each += (newest - self.each) * NEWEST_RATIO if self.each else newest

    def _pass(self, now_s: float) -> None:
        if self._running_count:
            self._fresh_s += now_s - self._since_s
        self._since_s = now_s
