"""To the last bit: a LoRA of weight 0 is no LoRA, and a run alone is the stock pipeline's.

Among mates a row's last bits follow from how many rows are computed with it, as matrix products are cut in blocks by
their size; `test_mixed_batches` holds those to 1e-5. Who the mates are, and what they carry, changes no bit.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import warnings
from dataclasses import replace

import pytest
import torch

from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from tests.support.stock import Stock
from tests.support.tiny_models import lora_file, tiny_base

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS = ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with warnings.catch_warnings(action="ignore"):
        return tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def stock(directory):
    return Stock(directory)


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    paths = [lora_file(folder / f"{seed}.safetensors", seed=seed, strength=0.2, text=True) for seed in (1, 2)]
    return [
        AdapterUse(f"model_{path.stem}", hashlib.sha256(path.read_bytes()).hexdigest(), path, 0.8) for path in paths
    ]


@pytest.fixture
async def engine(directory):
    engine = BatchEngine(threads=1)
    await engine.open(BaseModelFiles("tiny", directory, "sd", 64))
    engine.latents = {}
    inner = engine._pictures.draw

    async def tapped(model, latents, asked, stop):
        engine.latents[stop] = latents
        return await inner(model, latents, asked, stop)

    engine._pictures.draw = tapped
    yield engine
    await engine.close()


def request_of(*adapters, **changes):
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
    }
    return DrawRequest(**chosen | changes)


async def drawn_together(engine, requests):
    """Latents of each, all of which began at the same step."""
    began, release = threading.Event(), threading.Event()
    holding = asyncio.create_task(engine._steps.call(lambda: (began.set(), release.wait(30))))
    await asyncio.to_thread(began.wait, 30)
    stops = [StopSignal() for _ in requests]
    prepared = asyncio.Semaphore(0)
    inner = engine._steps.denoise

    async def noted(model, run):
        denoising = asyncio.create_task(inner(model, run))
        await asyncio.sleep(0)
        prepared.release()
        return await denoising

    engine._steps.denoise = noted
    tasks = [
        asyncio.create_task(engine.draw(request, stop=stop, on_progress=lambda _: None))
        for request, stop in zip(requests, stops, strict=True)
    ]
    for _ in requests:
        await asyncio.wait_for(prepared.acquire(), 30)
    engine._steps.denoise = inner
    release.set()
    await asyncio.gather(holding, *tasks)
    return [engine.latents.pop(stop) for stop in stops]


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
async def test_a_run_alone_is_the_stock_pipelines(engine, stock, scheduler, guidance):
    request = request_of(scheduler=scheduler, guidance=guidance)
    (latents,) = await drawn_together(engine, [request])
    assert torch.equal(latents, stock.draw(request)[0])


async def test_a_run_alone_with_a_lora_of_weight_0_is_the_stock_base_models(engine, stock, loras):
    (latents,) = await drawn_together(engine, [request_of(replace(loras[0], weight=0.0))])
    assert torch.equal(latents, stock.draw(request_of())[0])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
async def test_in_the_same_company_a_lora_of_weight_0_is_no_lora(engine, loras, scheduler):
    mates = [request_of(loras[0], seed=8, scheduler="euler"), request_of(seed=9, guidance=1.0, steps=5)]
    without = request_of(scheduler=scheduler)
    with_zero = request_of(replace(loras[1], weight=0.0), scheduler=scheduler)
    beside = request_of(loras[1], replace(loras[0], weight=0.0), seed=4)
    first = await drawn_together(engine, [*mates, without, request_of(loras[1], seed=4)])
    second = await drawn_together(engine, [*mates, with_zero, beside])
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


async def test_the_same_company_draws_the_same_to_the_bit_whatever_its_mates_carry(engine, loras):
    mine = request_of(seed=5)
    one = await drawn_together(engine, [mine, request_of(loras[0], seed=6), request_of(loras[0], seed=7)])
    other = await drawn_together(engine, [mine, request_of(loras[1], seed=8), request_of(loras[0], seed=1)])
    assert torch.equal(one[0], other[0])


async def test_an_image_of_several_is_its_seed_alone_to_a_hundred_thousandth(engine, stock):
    requests = [request_of(seed=seed, scheduler="euler_ancestral") for seed in range(4)]
    for request, latents in zip(requests, await drawn_together(engine, requests), strict=True):
        alone = stock.draw(request)[0]
        assert (latents - alone).abs().max() <= 1e-5 * max(1.0, float(alone.abs().max()))
