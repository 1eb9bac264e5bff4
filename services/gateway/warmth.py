"""Who draws, and which LoRAs it holds in memory, as the workers' signs of life say. Use it from one event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError
from imagineo.v1 import event_pb2

#: Three beats missed.
_ALIVE_S: Final = 6.5
_MAX_WORKERS: Final = 10_000


class Warmth:
    """The last sign of life of each worker.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._warm: dict[str, tuple[float, frozenset[str]]] = {}
        self._beats: dict[str, event_pb2.WorkerBeat] = {}

    async def hear(self, _subject: str, body: bytes) -> None:
        """Note a sign of life."""
        try:
            beat = event_pb2.WorkerBeat.FromString(body)
        except DecodeError:
            return
        now_s = self._clock_s()
        self._warm = {name: entry for name, entry in self._warm.items() if now_s - entry[0] <= _ALIVE_S}
        if len(self._warm) < _MAX_WORKERS:
            self._warm[beat.worker_id] = (now_s, frozenset(beat.warm_model_ids))
            self._beats[beat.worker_id] = beat
        self._beats = {name: beat for name, beat in self._beats.items() if name in self._warm}

    def is_warm(self, model_id: str) -> bool:
        """Whether a live worker holds the LoRA, so that a run of it need not load it."""
        now_s = self._clock_s()
        return any(now_s - at_s <= _ALIVE_S and model_id in warm for at_s, warm in self._warm.values())

    def workers(self) -> list[event_pb2.WorkerBeat]:
        """The last sign of life of each live worker, by name."""
        now_s = self._clock_s()
        return [self._beats[name] for name, (at_s, _) in sorted(self._warm.items()) if now_s - at_s <= _ALIVE_S]
