"""Latents become the stock pipeline's pictures, whole or in tiles, whoever is decoded with them."""

from __future__ import annotations

import asyncio
import threading
import warnings

import numpy as np
import pytest
import torch

from services.worker.engine import pictures, upscaler
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.base import BaseModelFiles, DrawStopped, StopReason, StopSignal
from services.worker.engine.failures import NotFinite, OutOfMemory
from services.worker.engine.model import Model
from services.worker.engine.sizing import Size
from tests.support.deadlines import SURELY_S
from tests.support.stock import Stock
from tests.support.tiny_models import tiny_base


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with warnings.catch_warnings(action="ignore"):
        return tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(directory):
    return Model(BaseModelFiles("tiny", directory, "sd", 64), AdapterMemory(torch.device("cpu"), 0))


@pytest.fixture
async def desk():
    desk = pictures.PictureDesk(lambda: torch.set_num_threads(1))
    yield desk
    await desk.close()


def latents(side=8, seed=1):
    return torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed))


def draw(desk, model, latents):
    size = Size(latents.shape[3] * 8, latents.shape[2] * 8)
    return desk.draw(model, latents, size, StopSignal())


def stock_pixels(vae, latents):
    with torch.inference_mode():
        decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    return ((decoded[0] / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(int)


def farthest(picture, pixels):
    return np.abs(np.asarray(picture.image).astype(int) - pixels).max()


async def test_pictures_that_wait_together_are_each_as_alone(desk, model, directory):
    vae = Stock(directory)._pipeline.vae
    many = [latents(seed=seed) for seed in range(5)]
    drawn = await asyncio.gather(*(draw(desk, model, one) for one in many))
    for picture, one in zip(drawn, many, strict=True):
        assert farthest(picture, stock_pixels(vae, one)) <= 1


async def test_a_large_picture_is_decoded_in_the_stock_pipelines_tiles(desk, model, directory, monkeypatch):
    monkeypatch.setattr(pictures, "UNTILED_PX", 64 * 64)
    sides = []
    inner = model.pipeline.vae.decoder.forward
    monkeypatch.setattr(
        model.pipeline.vae.decoder, "forward", lambda part, *rest: (sides.append(part.shape[2]), inner(part, *rest))[1]
    )
    vae = Stock(directory)._pipeline.vae
    vae.enable_tiling()
    one = latents(32)
    assert farthest(await draw(desk, model, one), stock_pixels(vae, one)) <= 1
    assert max(sides) == vae.tile_latent_min_size < 32
    small = latents(8)
    vae.disable_tiling()
    assert farthest(await draw(desk, model, small), stock_pixels(vae, small)) <= 1


async def test_where_memory_runs_out_a_picture_is_decoded_in_tiles(desk, model, monkeypatch):
    inner = model.pipeline.vae.decoder.forward

    def forward(part, *rest):
        if part.shape[2] > 8 or part.shape[0] > 1:
            raise torch.OutOfMemoryError
        return inner(part, *rest)

    monkeypatch.setattr(model.pipeline.vae.decoder, "forward", forward)
    drawn = await asyncio.gather(*(draw(desk, model, latents(16, seed)) for seed in range(3)))
    assert [picture.image.size for picture in drawn] == [(128, 128)] * 3


async def test_where_tiles_do_not_fit_either_it_is_told_and_the_next_is_drawn(desk, model, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(model.pipeline.vae.decoder, "forward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
        with pytest.raises(OutOfMemory):
            await draw(desk, model, latents())
    assert (await draw(desk, model, latents())).image.size == (64, 64)


async def test_numbers_that_ran_away_fail_their_picture_alone(desk, model):
    drawn = await asyncio.gather(
        draw(desk, model, latents()), draw(desk, model, latents() * float("nan")), return_exceptions=True
    )
    assert isinstance(drawn[1], NotFinite)
    assert drawn[0].image.size == (64, 64)


async def test_a_run_that_was_cancelled_is_not_decoded(desk, model):
    stop = StopSignal()
    stop.set(StopReason.CANCELED)
    with pytest.raises(DrawStopped):
        await desk.draw(model, latents(), Size(64, 64), stop)


async def test_a_run_that_is_decoded_while_its_worker_ends_has_the_size_asked(desk, model):
    stop = StopSignal()
    stop.set(StopReason.DRAINING)
    drawn = await desk.draw(model, latents(), Size(96, 80), stop)
    assert drawn.image.size == (96, 80)


@pytest.fixture(scope="module")
def enlarging(directory):
    base = BaseModelFiles("tiny", directory, "sd", 64, upscales=True, upscaler="upscaler.safetensors")
    return Model(base, AdapterMemory(torch.device("cpu"), 0))


@pytest.fixture
def tiles(enlarging, monkeypatch):
    """Calls what is appended at each tile, and counts them."""
    seen, at_tile = [], []
    inner = enlarging.upscaler.forward

    def forward(part):
        seen.append(part.shape)
        for call in at_tile:
            call(len(seen))
        return inner(part)

    monkeypatch.setattr(upscaler, "TILE_PX", 16)
    monkeypatch.setattr(enlarging.upscaler, "forward", forward)
    return seen, at_tile


async def test_a_cancel_ends_the_enlarging_at_the_next_tile(desk, enlarging, tiles):
    (seen, at_tile), stop = tiles, StopSignal()
    at_tile.append(lambda count: stop.set(StopReason.CANCELED) if count == 3 else None)
    with pytest.raises(DrawStopped):
        await desk.draw(enlarging, latents(), Size(256, 256), stop)
    assert len(seen) == 3
    assert (await desk.draw(enlarging, latents(), Size(256, 256), StopSignal())).image.size == (256, 256)


async def test_pictures_are_decoded_between_the_tiles_of_one_that_is_enlarged(desk, enlarging, model, tiles):
    (seen, at_tile), loop, others = tiles, asyncio.get_running_loop(), []
    begun, asked = asyncio.Event(), threading.Event()

    def wait(count):
        if count == 2:
            loop.call_soon_threadsafe(begun.set)
            asked.wait(20)

    at_tile.append(wait)
    large = asyncio.create_task(desk.draw(enlarging, latents(), Size(256, 256), StopSignal()))
    await asyncio.wait_for(begun.wait(), SURELY_S)
    small = asyncio.create_task(draw(desk, model, latents()))
    small.add_done_callback(lambda _: others.append(len(seen)))
    await asyncio.sleep(0)
    asked.set()
    await asyncio.gather(small, large)
    assert others[0] < len(seen) == 16


async def test_a_tile_that_does_not_fit_is_told_and_the_next_picture_is_enlarged(desk, enlarging, tiles):
    _, at_tile = tiles

    def fail(count):
        if count in {2, 3}:
            raise torch.OutOfMemoryError

    at_tile.append(fail)
    drawn = await asyncio.gather(
        *(desk.draw(enlarging, latents(seed=seed), Size(128, 128), StopSignal()) for seed in (1, 2)),
        return_exceptions=True,
    )
    assert isinstance(drawn[0], OutOfMemory)
    assert drawn[1].image.size == (128, 128)


async def test_a_desk_that_closes_drops_what_is_being_enlarged(enlarging, tiles):
    desk = pictures.PictureDesk(lambda: torch.set_num_threads(1))
    (_, at_tile), loop, begun, closing = tiles, asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    at_tile.append(lambda _: (loop.call_soon_threadsafe(begun.set), closing.wait(20)))
    large = asyncio.create_task(desk.draw(enlarging, latents(), Size(256, 256), StopSignal()))
    await asyncio.wait_for(begun.wait(), SURELY_S)
    ending = asyncio.create_task(desk.close())
    await asyncio.sleep(0)
    closing.set()
    await ending
    with pytest.raises(DrawStopped):
        await asyncio.wait_for(large, SURELY_S)
