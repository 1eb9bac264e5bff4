"""Sketches come nearer to the picture from step to step, and change nothing of it."""

from __future__ import annotations

from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import starter
import torch
from PIL import Image

from services.worker.engine import sketches
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.base import BaseModelFiles, DrawRequest, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.model import Model
from services.worker.engine.schedulers import CLASSES
from services.worker.engine.sketches import MOST_PX, Glance

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

STARTER = Path(starter.__file__).parent / "weights" / "base"
REQUEST = DrawRequest(
    run_id="gen_1",
    base_model_slug="starter",
    positive_prompt="a red circle on a blue background",
    negative_prompt="",
    adapters=(),
    guidance=3.0,
    width_px=128,
    height_px=64,
    steps=8,
    seed=11,
    scheduler="ddim",
)


@pytest.fixture
async def engine(directory):
    engine = BatchEngine(threads=1)
    await engine.open(BaseModelFiles("tiny", directory, "sd", 64))
    await engine.open(BaseModelFiles("starter", STARTER, "sd", 256))
    yield engine
    await engine.close()


async def draw(engine, request, *, sketched):
    """The picture, and a sketch of each step but the last."""
    making = []

    def note(progress):
        assert (progress.sketch is None) == (progress.step == progress.steps)
        if sketched and progress.sketch is not None:
            making.append(progress.sketch())

    drawn = await engine.draw(request, stop=StopSignal(), on_progress=note)
    wait(making, 30)
    return drawn, [one.result() for one in making]


def pixels(picture, size):
    image = Image.frombytes("RGB", (picture.width_px, picture.height_px), picture.rgb)
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)


async def test_sketches_differ_from_step_to_step_and_the_picture_is_the_same_with_and_without(engine):
    for slug in ("tiny", "starter"):
        for scheduler in sorted(CLASSES):
            request = replace(REQUEST, base_model_slug=slug, scheduler=scheduler, steps=4, width_px=64)
            plain, _ = await draw(engine, request, sketched=False)
            drawn, found = await draw(engine, request, sketched=True)
            assert drawn.rgb == plain.rgb, (slug, scheduler)
            assert len({one.rgb for one in found}) == len(found) >= 3, (slug, scheduler)


async def test_the_last_sketch_is_nearer_to_the_picture_than_the_first(engine):
    for scheduler in ("ddim", "euler", "dpmpp_2m"):
        drawn, found = await draw(engine, replace(REQUEST, scheduler=scheduler), sketched=True)
        final = pixels(drawn, (32, 16))
        away = [float(np.abs(pixels(one, (32, 16)) - final).mean()) for one in found]
        assert away[-1] < away[0] / 2, (scheduler, away)
    large = replace(REQUEST, width_px=512, height_px=256, steps=2)
    _, found = await draw(engine, large, sketched=True)
    assert (found[0].width_px, found[0].height_px) == (MOST_PX, MOST_PX // 2)


def test_without_noise_the_prediction_is_what_was_seen(directory):
    model = Model(BaseModelFiles("tiny", directory, "sd", 64), AdapterMemory(torch.device("cpu"), 0))
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    scheduler = model.pipeline.scheduler
    timestep = torch.tensor([400])
    noisy = scheduler.add_noise(clean, noise, timestep)
    found = sketches.predicted(scheduler, Glance(noisy, noise, timestep.float()))
    assert torch.allclose(found, clean, atol=1e-5)


def test_a_full_autoencoder_is_fitted_the_same_each_time_by_numbers_of_its_own(directory):
    model = Model(BaseModelFiles("tiny", directory, "sd", 64), AdapterMemory(torch.device("cpu"), 0))
    before = torch.random.get_rng_state()
    first, second = sketches.fit(model), sketches.fit(model)
    assert torch.allclose(first, second, atol=1e-4)
    assert first.shape == (5, 3)
    assert torch.equal(before, torch.random.get_rng_state())
