"""An engine whose runs are held to the stock pipeline: its latents are tapped on their way to the decoder."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, DrawResult, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from tests.support.stock import Stock


class JudgedEngine:
    """An engine that lives over many event loops with one base model, `tiny`, and its oracle."""

    def __init__(self, directory: Path, family: str = "sd", **options: object) -> None:
        self.stock = Stock(directory)
        self.engine = BatchEngine(threads=1, **options)
        self.latents = {}
        inner = self.engine._pictures.draw

        async def tapped(model, latents, asked, stop):
            self.latents[stop] = latents
            return await inner(model, latents, asked, stop)

        self.engine._pictures.draw = tapped
        asyncio.run(self.engine.open(BaseModelFiles("tiny", directory, family, 64)))
        self.model = self.engine._models["tiny"]

    def draw(self, *requests: DrawRequest) -> list[tuple[DrawRequest, StopSignal, DrawResult]]:
        """Draw requests in one batch; each with the signal that its latents are kept under."""

        async def one(request):
            stop = StopSignal()
            return request, stop, await self.engine.draw(request, stop=stop, on_progress=lambda _: None)

        async def all_at_once():
            return await asyncio.gather(*(one(request) for request in requests))

        return asyncio.run(all_at_once())

    def check(self, request: DrawRequest, stop: StopSignal, result: DrawResult) -> None:
        """Assert that a run equals the stock pipeline alone."""
        latents, pixels = self.stock.draw(request)
        ours = np.frombuffer(result.rgb, np.uint8).reshape(pixels.shape).astype(int)
        # Random weights and strong guidance carry latents beyond the usual range; 1e-5 is then of their size.
        size = max(1.0, float(latents.abs().max()))
        assert (self.latents.pop(stop) - latents).abs().max() <= 1e-5 * size
        assert np.abs(ours - pixels).max() <= 1

    def close(self) -> None:
        """End its threads."""
        asyncio.run(self.engine.close())


def request_of(*adapters: AdapterUse, **changes: object) -> DrawRequest:
    """A run of the tiny base model, but for what a test changes."""
    chosen = {
        "run_id": "gen_1",
        "base_model_slug": "tiny",
        "positive_prompt": "a red cat",
        "negative_prompt": "",
        "adapters": adapters,
        "guidance": 7.5,
        "width_px": 64,
        "height_px": 64,
        "steps": 10,
        "seed": 1,
        "scheduler": "ddim",
    }
    return DrawRequest(**chosen | changes)
