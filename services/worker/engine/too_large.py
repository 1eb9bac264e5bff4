"""What did not fit on the device even alone: it is emptied once for such a run, not for every one like it. Pure.

A run like it is still tried beside others, so what was known is forgotten as soon as one of its size is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """What decides how much memory a run takes."""

    kind: str
    """The base model's slug, and what is done with it."""
    area_px: int
    rows: int
    """Of a batch: guided runs take two."""
    adapter_bytes: int = 0

    def covers(self, other: Demand) -> bool:
        """Whether this takes no less than the other."""
        return (
            self.kind == other.kind
            and self.area_px >= other.area_px
            and self.rows >= other.rows
            and self.adapter_bytes >= other.adapter_bytes
        )


class TooLarge:
    """The smallest demands that failed alone. Used on one event loop."""

    def __init__(self) -> None:
        self._known: set[Demand] = set()

    def note(self, demand: Demand) -> None:
        """It did not fit, with nobody else on the device."""
        if not self.holds(demand):
            self._known = {one for one in self._known if not one.covers(demand)} | {demand}

    def forget(self, demand: Demand) -> None:
        """It did fit, and with it all that takes no more."""
        self._known = {one for one in self._known if not demand.covers(one)}

    def holds(self, demand: Demand) -> bool:
        """Whether one that takes no more than this did not fit."""
        return any(demand.covers(one) for one in self._known)
