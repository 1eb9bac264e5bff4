"""A worker like any other, but for its device, which breaks or hangs in the third step of a run: `… breaks|hangs`.

It is wired by the same `serve`, with an engine that misbehaves in place of the real one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

import torch
from imagineo import process, settings

from services.worker.app import engine_of, serve
from services.worker.engine import waves
from services.worker.engine.base import Engine
from services.worker.settings import Settings

AT_STEP = 3


def breaks() -> None:
    """As a kernel's fault shows itself."""
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def hangs() -> None:
    """As a kernel that never ends shows itself."""
    threading.Event().wait()


def faulty(fault: Callable[[], None]) -> Callable[[Settings], Engine]:
    """Make the real engine, whose steps meet the fault."""
    inner = waves.Batch.step

    def step(batch: waves.Batch) -> None:
        if any(run.step == AT_STEP for run in batch.runs):
            fault()
        inner(batch)

    waves.Batch.step = step  # type: ignore[method-assign]  # this is what makes it faulty
    return engine_of


def main() -> None:
    """Serve until the device ends it."""
    read = settings.read(Settings, os.environ, prefix="IMAGINEO_WORKER_")
    fault = {"breaks": breaks, "hangs": hangs}[sys.argv[1]]

    async def run(stop: asyncio.Event) -> None:
        await serve(read, stop, faulty(fault))

    process.run(run)


if __name__ == "__main__":
    main()
