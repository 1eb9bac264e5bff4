"""Enlarging as a run of its own: tile by tile on the thread of pictures, where it shares the device with the decoding.

Where a base model has no upscaler the picture is resized by Lanczos.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import torch
from PIL import Image

from services.worker.engine import memory
from services.worker.engine.base import DrawResult, DrawStopped, Progress, StopSignal, UpscaleRequest
from services.worker.engine.device_thread import DeviceThread
from services.worker.engine.failures import OutOfMemory
from services.worker.engine.upscaler import Enlargement, Upscaler


async def enlarge(
    thread: DeviceThread,
    request: UpscaleRequest,
    upscaler: Upscaler | None,
    device: torch.device,
    *,
    give_back: Callable[[], object],
    stop: StopSignal,
    on_progress: Callable[[Progress], None],
) -> DrawResult:
    """The picture of a request, enlarged; between two tiles others have their turn on the thread.

    Where memory runs out `give_back` is called, and the tile tried once more.

    Raises:
        DrawStopped: if `stop` was set before the last tile.
        OutOfMemory: if the device does not hold a tile.
    """
    image = Image.frombytes("RGB", (request.width_px, request.height_px), request.rgb)
    if upscaler is None:
        return await asyncio.to_thread(_resized, image, request.scale)
    enlargement = Enlargement(image, request.scale, upscaler, device)
    device_s = 0.0
    while enlargement.step < enlargement.steps:
        if stop.reason is not None:
            raise DrawStopped
        device_s += await thread.run(lambda: advanced(enlargement, give_back))
        rest_s = device_s / enlargement.step * (enlargement.steps - enlargement.step)
        on_progress(Progress(enlargement.step, enlargement.steps, rest_s))
    return await asyncio.to_thread(_result, enlargement.image(), device_s)


@torch.inference_mode()
def advanced(enlargement: Enlargement, give_back: Callable[[], object]) -> float:
    """Seconds that a tile took; where memory runs out, tried once more."""
    started_s = time.perf_counter()
    for _ in range(2):
        try:
            enlargement.advance()
            return time.perf_counter() - started_s
        except Exception as problem:
            if not memory.is_out_of_memory(problem):
                raise
        give_back()
    raise OutOfMemory


def _resized(image: Image.Image, scale: int) -> DrawResult:
    started_s = time.perf_counter()
    large = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    return _result(large, time.perf_counter() - started_s)


def _result(image: Image.Image, device_s: float) -> DrawResult:
    return DrawResult(image.width, image.height, image.tobytes(), (), {"upscale": device_s})
