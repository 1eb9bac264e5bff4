"""The model that ships, with the LoRAs that ship: every run of a mixed batch equals the stock pipeline alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from tests.support.stock import Stock

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

WEIGHTS = Path("libs/starter/weights")
MANIFEST = json.loads((WEIGHTS / "base" / "imagineo.json").read_text())
LISTED = json.loads((WEIGHTS / "loras" / "loras.json").read_text())


def use_of(slug: str, weight: float) -> AdapterUse:
    path = WEIGHTS / "loras" / next(one["file"] for one in LISTED if one["slug"] == slug)
    return AdapterUse(slug, hashlib.sha256(path.read_bytes()).hexdigest(), path, weight)


def request_of(prompt: str, *adapters: AdapterUse, **changes: object) -> DrawRequest:
    request = DrawRequest(
        run_id="gen_1",
        base_model_slug="starter",
        positive_prompt=prompt,
        negative_prompt="",
        adapters=adapters,
        guidance=MANIFEST["default_guidance"],
        width_px=MANIFEST["native_px"],
        height_px=MANIFEST["native_px"],
        steps=5,
        seed=1,
        scheduler=MANIFEST["default_scheduler"],
    )
    return replace(request, **changes)  # type: ignore[arg-type]


#: All shipped LoRAs, those in diffusers' naming and those in kohya's, alone and together; all schedulers offered.
REQUESTS = [
    request_of("a red apple", use_of("pixel-art", 1.0)),
    request_of("dog face", use_of("watercolor", 0.8), scheduler="euler", seed=2),
    request_of("a rocket", use_of("neon", 1.2), scheduler="euler_ancestral", steps=6, guidance=1.0, seed=3),
    request_of("sunflower", use_of("inverted", 0.6), use_of("fluent-flat", 0.5), scheduler="dpmpp_2m", seed=4),
    request_of("a red apple", use_of("pencil-sketch", 0.3), scheduler="lcm", steps=4, guidance=7.5, seed=5),
    request_of("a green tree", negative_prompt="red", width_px=96, seed=6),
    request_of("a cat", seed=7),
    request_of("a cat", use_of("neon", 0.0), seed=7),
]


def test_each_run_of_a_mixed_batch_is_the_stock_pipelines_and_weight_0_is_the_base() -> None:
    engine = BatchEngine(threads=1, device="cpu")
    latents = {}
    inner = engine._pictures.draw

    async def tapped(model, kept, asked, stop):
        latents[stop] = kept
        return await inner(model, kept, asked, stop)

    engine._pictures.draw = tapped
    stops = [StopSignal() for _ in REQUESTS]

    async def drawn():
        await engine.open(BaseModelFiles("starter", WEIGHTS / "base", MANIFEST["family"], MANIFEST["native_px"]))
        try:
            return await asyncio.gather(
                *(
                    engine.draw(request, stop=stop, on_progress=lambda _: None)
                    for request, stop in zip(REQUESTS, stops, strict=True)
                )
            )
        finally:
            await engine.close()

    results = asyncio.run(drawn())
    stock = Stock(WEIGHTS / "base")
    for request, stop, result in zip(REQUESTS, stops, results, strict=True):
        expected, pixels = stock.draw(replace(request, adapters=tuple(one for one in request.adapters if one.weight)))
        ours = np.frombuffer(result.rgb, np.uint8).reshape(pixels.shape).astype(int)
        assert (latents[stop] - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max())), request
        assert np.abs(ours - pixels).max() <= 1, request
        assert all(report.ignored_keys == 0 for report in result.adapter_reports)
    assert {use.model_id for request in REQUESTS for use in request.adapters} == {one["slug"] for one in LISTED}
    assert results[-1].rgb == results[-2].rgb
