"""Whose turn it is: which wave steps next, and which waiting run joins one. Pure.

Runs of one latent size form a wave, and one wave steps at a time. The device's time is shared evenly between the
organizations that have runs on it, and an organization's share evenly between its runs. Within an organization a run
that has not begun goes before others, the one with the nearest deadline first: a run that has begun has met its
deadline. Where such runs keep coming their wave gets that far ahead of another and no further. Whoever comes new starts
even with the others; nobody gathers credit while away.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

#: So much more device time per run may runs that have not begun take for their wave.
AHEAD_S: Final = 2.0

Wave = TypeVar("Wave", bound=Hashable)


class Claimant(Protocol):
    """What is asked of a run."""

    @property
    def organization_id(self) -> str:
        """Whose it is."""

    @property
    def rows(self) -> int:
        """How many rows of a batch it takes."""

    @property
    def deadline_s(self) -> float | None:
        """When it should have begun."""

    @property
    def has_begun(self) -> bool:
        """Whether its first step is made."""


class FairShare(Generic[Wave]):
    """Picks the wave to step."""

    def __init__(self) -> None:
        self._organizations_had_s: dict[str, float] = {}
        self._runs_had_s: dict[Wave, float] = {}

    def pick(self, waves: Mapping[Wave, Collection[Claimant]]) -> Wave:
        """The wave to step now; `waves` are those with runs, at least one, and the runs that their step would carry."""
        present = {run.organization_id for runs in waves.values() for run in runs}
        self._organizations_had_s = _even(self._organizations_had_s, present)
        self._runs_had_s = _even(self._runs_had_s, waves)
        organization_id = min(present, key=lambda one: (self._organizations_had_s[one], one))
        of_it = [wave for wave, runs in waves.items() if any(run.organization_id == organization_id for run in runs)]
        most_s = min(self._runs_had_s[wave] for wave in of_it) + AHEAD_S

        def claim(wave: Wave) -> tuple[bool, float, float]:
            had_s = self._runs_had_s[wave]
            return (had_s > most_s, _nearest_s(waves[wave], organization_id), had_s)

        return min(of_it, key=claim)

    def charge(self, wave: Wave, seconds: float, runs: Collection[Claimant]) -> None:
        """Note that a step of the wave took so long for these runs."""
        rows = sum(run.rows for run in runs)
        for run in runs:
            if run.organization_id in self._organizations_had_s:
                self._organizations_had_s[run.organization_id] += seconds * run.rows / rows
        if wave in self._runs_had_s and runs:
            self._runs_had_s[wave] += seconds / len(runs)


def next_to_join(waiting: Sequence[Claimant], stepped: Iterable[Claimant]) -> int:
    """Which waiting run joins: of the organization with the fewest rows, by nearest deadline, else the first come."""
    rows: dict[str, int] = {}
    for run in stepped:
        rows[run.organization_id] = rows.get(run.organization_id, 0) + run.rows
    return min(
        range(len(waiting)),
        key=lambda index: (rows.get(waiting[index].organization_id, 0), _deadline_s(waiting[index]), index),
    )


def _even(had_s: Mapping[Wave, float], present: Iterable[Wave]) -> dict[Wave, float]:
    wanted = list(present)
    start_s = min((had_s[one] for one in wanted if one in had_s), default=0.0)
    return {one: had_s.get(one, start_s) for one in wanted}


def _nearest_s(runs: Collection[Claimant], organization_id: str) -> float:
    return min(
        (_deadline_s(run) for run in runs if run.organization_id == organization_id and not run.has_begun),
        default=math.inf,
    )


def _deadline_s(run: Claimant) -> float:
    return math.inf if run.deadline_s is None else run.deadline_s
