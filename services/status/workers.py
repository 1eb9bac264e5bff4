"""Knows the live workers from their signs of life; the time of hearing and asking is an argument."""

from __future__ import annotations

from collections import Counter

from imagineo.jobs.estimate import Pace
from imagineo.v1 import event_pb2

#: Three beats missed.
ALIVE_S = 6.5


class Workers:
    """The last sign of life of each worker."""

    def __init__(self) -> None:
        self._beats: dict[str, tuple[event_pb2.WorkerBeat, float]] = {}

    def hear(self, beat: event_pb2.WorkerBeat, now_s: float) -> None:
        """Note a sign of life."""
        self._beats[beat.worker_id] = (beat, now_s)

    def forget_silent(self, now_s: float) -> int:
        """Forget those that are silent; gives how many of them had runs in hand, which an orderly end never leaves."""
        silent = [name for name, (_, at_s) in self._beats.items() if now_s - at_s > ALIVE_S]
        return sum(bool(self._beats.pop(name)[0].running_run_ids) for name in silent)

    def counts(self, now_s: float) -> dict[str, int]:
        """How many live workers each base model has."""
        live = [beat for beat, at_s in self._beats.values() if now_s - at_s <= ALIVE_S]
        return dict(Counter(slug for beat in live for slug in beat.base_model_slugs))

    def paces(self, base_model_slug: str, now_s: float) -> list[Pace]:
        """How fast each live worker of a base model draws."""
        return [
            Pace(beat.megapixel_steps_per_s, beat.run_megapixel_steps_per_s, max(1, beat.slots))
            for beat, at_s in self._beats.values()
            if base_model_slug in beat.base_model_slugs and now_s - at_s <= ALIVE_S
        ]

    def slots(self, base_model_slug: str, now_s: float) -> int:
        """How many runs of a base model its live workers draw at once."""
        return sum(
            max(1, beat.slots)
            for beat, at_s in self._beats.values()
            if base_model_slug in beat.base_model_slugs and now_s - at_s <= ALIVE_S
        )
