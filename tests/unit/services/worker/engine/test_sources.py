"""Runs that start from a picture equal the stock image-to-image and inpainting pipelines, alone and among others."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, SourceImage, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from tests.support.stock import Stock
from tests.support.tiny_models import lora_file

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS = ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"]


@pytest.fixture
async def engine(directory):
    engine = BatchEngine(threads=1)
    await engine.open(BaseModelFiles("tiny", directory, "sd", 64))
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    path = lora_file(tmp_path_factory.mktemp("loras") / "l.safetensors", seed=1, strength=0.15, text=True)
    return AdapterUse("model_1", hashlib.sha256(path.read_bytes()).hexdigest(), path, 0.8)


def picture(width=64, height=64, seed=1):
    draw = np.random.default_rng(seed)
    small = Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def source_of(strength, *, mask=None, image=None):
    image = image or picture()
    return SourceImage(image.width, image.height, image.tobytes(), strength, mask)


def left_half():
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 30, 64))
    return mask.tobytes()


def request_of(source=None, *adapters, **changes):
    chosen = {
        "run_id": "gen_1",
        "base_model_slug": "tiny",
        "positive_prompt": "a red cat",
        "negative_prompt": "blurry",
        "adapters": adapters,
        "guidance": 5.0,
        "width_px": 64,
        "height_px": 64,
        "steps": 8,
        "seed": 3,
        "scheduler": "ddim",
        "source": source,
    }
    return DrawRequest(**chosen | changes)


async def draw(engine, request, on_progress=lambda _: None):
    result = await engine.draw(request, stop=StopSignal(), on_progress=on_progress)
    assert (result.width_px, result.height_px) == (request.width_px, request.height_px)
    return result


def farthest(result, pixels):
    ours = np.frombuffer(result.rgb, np.uint8).reshape(pixels.shape).astype(int)
    return int(np.abs(ours - pixels).max())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("mask", [None, left_half()], ids=["whole", "masked"])
async def test_alone_it_is_the_stock_pipelines(engine, stock, scheduler, strength, mask):
    request = request_of(source_of(strength, mask=mask), scheduler=scheduler)
    assert farthest(await draw(engine, request), stock.draw(request)[1]) <= 1


async def test_among_text_to_image_runs_each_is_the_stock_pipelines(engine, stock, lora):
    requests = [
        request_of(source, *adapters, scheduler=scheduler, seed=seed)
        for seed, scheduler in enumerate(SCHEDULERS)
        for source, adapters in [
            (None, ()),
            (source_of(0.5, image=picture(seed=seed)), (lora,)),
            (source_of(0.7, mask=left_half()), ()),
        ]
    ]
    results = await asyncio.gather(*(draw(engine, request) for request in requests))
    for request, result in zip(requests, results, strict=True):
        assert farthest(result, stock.draw(request)[1]) <= 1


async def test_an_autoencoder_that_leaves_nothing_to_chance_is_the_stocks_too(directory, tmp_path):
    certain = shutil.copytree(directory, tmp_path / "certain")
    channels = (8, 8, 8, 8)
    torch.manual_seed(1)
    AutoencoderTiny(encoder_block_out_channels=channels, decoder_block_out_channels=channels).save_pretrained(
        certain / "vae"
    )
    index = json.loads((certain / "model_index.json").read_text())
    (certain / "model_index.json").write_text(json.dumps(index | {"vae": ["diffusers", "AutoencoderTiny"]}))
    engine = BatchEngine(threads=1)
    await engine.open(BaseModelFiles("tiny", certain, "sd", 64))
    request = request_of(source_of(0.6))

    result = await draw(engine, request)

    assert farthest(result, Stock(certain).draw(request)[1]) <= 1
    await engine.close()


async def test_progress_counts_the_steps_that_are_made(engine):
    steps = []
    await draw(engine, request_of(source_of(0.5)), steps.append)
    assert [(one.step, one.steps) for one in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("strength", [0.0, 0.1])
async def test_a_strength_of_less_than_a_step_gives_the_source_back(engine, strength):
    result = await draw(engine, request_of(source_of(strength)))
    assert result.rgb == picture().tobytes()


async def test_the_source_is_cut_to_the_aspect_and_resized(engine, stock):
    image = picture(120, 60)
    result = await draw(engine, request_of(source_of(0.6, image=image)))
    cut = image.resize((64, 64), Image.Resampling.LANCZOS, box=(30, 0, 90, 60))
    same = request_of(source_of(0.6, image=cut))
    assert farthest(result, stock.draw(same)[1]) <= 1
    untouched = await draw(engine, request_of(source_of(0.0, image=image)))
    assert untouched.rgb == cut.tobytes()


async def test_a_base_that_enlarges_draws_a_source_near_its_native_size(directory, stock):
    engine = BatchEngine(threads=1)
    await engine.open(BaseModelFiles("tiny", directory, "sd", 64, upscales=True, upscaler="upscaler.safetensors"))
    large = await draw(engine, request_of(source_of(0.6, image=picture(128, 128)), width_px=128, height_px=128))
    small = picture(128, 128).resize((64, 64), Image.Resampling.LANCZOS)
    drawn = stock.draw(request_of(source_of(0.6, image=small)))[1]
    ours = Image.frombytes("RGB", (128, 128), large.rgb).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(ours).astype(int) - drawn).mean() < 20
    await engine.close()


async def test_with_every_pixel_kept_the_source_stays_but_for_the_autoencoder(engine, stock):
    kept = source_of(0.8, mask=bytes(64 * 64))
    request = request_of(kept)
    assert farthest(await draw(engine, request), stock.draw(request)[1]) <= 1
    other = await draw(engine, replace(request, positive_prompt="two dogs"))
    assert other.rgb == (await draw(engine, request)).rgb
