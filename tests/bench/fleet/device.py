"""What a device of the simulated fleet takes for its work: the engine's own measured curve, scaled to a GPU's pace.

`figures.json` holds what `python -m tests.bench.fleet.measure` found on one CPU core. From there come the shape of a
step's time over its rows, and with it the knee. The pace and what LoRAs weigh are assumptions about a GPU, below.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.worker.engine.base import AHEAD_COUNT
from services.worker.engine.knee import knee

FIGURES: Final = json.loads(Path(__file__).with_name("figures.json").read_text())
#: A guided run takes two rows.
ROWS: Final = 2


@dataclass(frozen=True)
class Device:
    """One GPU with a worker on it."""

    #: A run of 28 steps that is alone on it: FLUX.1-dev at 1024x1024 on an RTX 4090, published at 23.6 s.
    alone_s: float = 23.6
    latents: str = "16x16"
    #: Rank 16 on the attention projections of such a model, in 16 bits.
    lora_bytes: int = 55 << 20
    #: ADAPTER_MEMORY_BYTES.
    memory_bytes: int = 4 << 30
    #: ADAPTER_HOST_MEMORY_BYTES.
    host_bytes: int = 16 << 30
    #: ADAPTER_CACHE_BYTES, as it is by default.
    disk_bytes: int = 8 << 30
    #: From the store: 100 ms until it answers, then 250 MB a second.
    fetch_s: float = 0.33
    #: From the disk into the host's memory, at 500 MB a second; from there over the bus, at 20 GB a second.
    read_s: float = 0.115
    copy_s: float = 0.003
    #: Base model from a volume to the first run.
    cold_s: float = 90.0
    row_cap: int = field(init=False)
    _rungs: tuple[tuple[int, float], ...] = field(init=False)

    def __post_init__(self) -> None:
        measured = {int(rows): float(seconds) for rows, seconds in FIGURES["step_s"][self.latents].items()}
        scale = self.alone_s / 28 / measured[ROWS]
        object.__setattr__(self, "row_cap", knee(measured))
        object.__setattr__(self, "_rungs", tuple((rows, seconds * scale) for rows, seconds in sorted(measured.items())))

    @property
    def slots(self) -> int:
        """As the engine says it to the worker's intake."""
        return max(1, self.row_cap // 2) + AHEAD_COUNT

    @property
    def runs_cap(self) -> int:
        """Runs that one step carries."""
        return self.row_cap // ROWS

    def step_s(self, runs: int) -> float:
        """A step of so many runs, between measured rungs along the line."""
        rows = ROWS * runs
        index = bisect_left(self._rungs, (rows, 0.0))
        high_rows, high_s = self._rungs[min(index, len(self._rungs) - 1)]
        if rows >= high_rows or index == 0:
            return high_s * rows / high_rows
        low_rows, low_s = self._rungs[index - 1]
        return low_s + (high_s - low_s) * (rows - low_rows) / (high_rows - low_rows)
