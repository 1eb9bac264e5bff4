"""Which wave steps next. Runs of one latent size form a wave; each run gets the same share of the device. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Wave = TypeVar("Wave", bound=Hashable)


class FairShare(Generic[Wave]):
    """Picks the wave whose runs have had the least device time; one that comes new starts even with the others."""

    def __init__(self) -> None:
        self._had_s: dict[Wave, float] = {}

    def pick(self, waves: Iterable[Wave]) -> Wave:
        """The wave to step now; `waves` are those with runs, at least one."""
        present = list(waves)
        known = [self._had_s[wave] for wave in present if wave in self._had_s]
        start_s = min(known, default=0.0)
        self._had_s = {wave: self._had_s.get(wave, start_s) for wave in present}
        return min(present, key=lambda wave: self._had_s[wave])

    def charge(self, wave: Wave, seconds: float, run_count: int) -> None:
        """Note that a step of the wave took so long for so many runs."""
        if wave in self._had_s:
            self._had_s[wave] += seconds / max(1, run_count)
