"""An engine whose runs are held to the stock pipeline: its latents are tapped on their way to the decoder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, DrawResult, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from tests.support.stock import Stock

Ending = tuple[DrawRequest, StopSignal, DrawResult]


class JudgedEngine:
    """An engine that lives over many event loops with one base model, `tiny`, and its oracle."""

    def __init__(self, directory: Path, family: str = "sd", *, stock: Stock | None = None, **options: object) -> None:
        self.stock = stock or Stock(directory)
        self.engine = BatchEngine(threads=1, **options)
        self.latents = {}
        inner = self.engine._pictures.draw

        async def tapped(model, latents, asked, stop):
            self.latents[stop] = latents
            return await inner(model, latents, asked, stop)

        self.engine._pictures.draw = tapped
        asyncio.run(self.engine.open(BaseModelFiles("tiny", directory, family, 64)))
        self.model = self.engine._models["tiny"]

    def draw(self, *requests: DrawRequest) -> list[Ending]:
        """Draw requests beside each other; each with the signal that its latents are kept under."""

        async def one(request):
            stop = StopSignal()
            return request, stop, await self.engine.draw(request, stop=stop, on_progress=lambda _: None)

        async def all_at_once():
            return await asyncio.gather(*(one(request) for request in requests))

        return asyncio.run(all_at_once())

    def draw_together(self, *requests: DrawRequest) -> list[Ending]:
        """As `draw`, with the first step held until all have come: they are one batch from the start."""
        return asyncio.run(self._together(requests))

    async def _together(self, requests: Sequence[DrawRequest]) -> list[Ending]:
        began, release, come = threading.Event(), threading.Event(), asyncio.Semaphore(0)
        holding = asyncio.create_task(self.engine._steps.call(lambda: (began.set(), release.wait(60))))
        await asyncio.to_thread(began.wait, 60)
        inner = self.engine._steps.denoise

        async def noted(model, run):
            denoising = asyncio.create_task(inner(model, run))
            await asyncio.sleep(0)
            come.release()
            return await denoising

        self.engine._steps.denoise = noted
        stops = [StopSignal() for _ in requests]
        drawing = [
            asyncio.create_task(self.engine.draw(request, stop=stop, on_progress=lambda _: None))
            for request, stop in zip(requests, stops, strict=True)
        ]
        for _ in requests:
            await asyncio.wait_for(come.acquire(), 60)
        self.engine._steps.denoise = inner
        release.set()
        await holding
        return list(zip(requests, stops, await asyncio.gather(*drawing), strict=True))

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
