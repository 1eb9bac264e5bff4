"""`python -m tests.bench.fleet.measure`: what the engine takes on one core, into `figures.json`. Two minutes, alone."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

import torch

from services.worker.__main__ import BEFORE_START
from services.worker.engine.base import StopSignal
from services.worker.engine.batch import Batch
from services.worker.engine.knee import LADDER
from tests.bench.engine_parts.place import LORAS, Place, one_core, request_of, timed

_STEPS = 12
_SIDES_PX = (64, 128, 256)


@torch.inference_mode()
def _step_s(place: Place, side_px: int, rows: int) -> float:
    """The median step of so many rows, each guided run with another LoRA, weight and guidance of its own."""
    model, runs = place.model, []
    for number in range(max(1, rows // 2)):
        use = place.files[number % LORAS]
        guidance = 1.0 if rows == 1 else 4.0 + number % 5
        request = request_of(use, 0.4 + number % 8 / 10, guidance, 2 * _STEPS, number, side_px)
        runs.append(model.prepare(request, [model.adapters.read(use.path)], StopSignal(), lambda _: None))
    batch = Batch(model, runs)
    found = statistics.median([timed(batch.step) for _ in range(_STEPS)][2:])
    model.unbind()
    return found


def main() -> None:
    """Measure all rungs."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        place = Place(Path(folder))
        with one_core():
            steps = asyncio.run(place.engine._steps.call(lambda: _ladder(place)))
        place.close()
    figures = {
        "command": "python -m tests.bench.fleet.measure",
        "device": "one core of a shared x86-64 machine, torch on one thread, a UNet of 1 M parameters",
        "step_s": steps,
    }
    Path(__file__).with_name("figures.json").write_text(json.dumps(figures, indent=2) + "\n")


def _ladder(place: Place) -> dict[str, dict[int, float]]:
    return {
        f"{side // 8}x{side // 8}": {rows: round(_step_s(place, side, rows), 6) for rows in LADDER}
        for side in _SIDES_PX
    }


if __name__ == "__main__":
    if not BEFORE_START.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, "-m", "tests.bench.fleet.measure"], os.environ | BEFORE_START)  # noqa: S606
    main()
