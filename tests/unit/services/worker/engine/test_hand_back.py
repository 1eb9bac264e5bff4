"""A run that is handed back goes on on another engine with the same picture; a step that hangs is seen from outside."""

from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from services.worker.engine import waves
from services.worker.engine.base import (
    BaseModelFiles,
    DrawRequest,
    DrawStopped,
    SourceImage,
    StopReason,
    StopSignal,
)
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.model import Model
from tests.support.steady_rows import MEASURE

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS = ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"]
REQUEST = DrawRequest(
    run_id="gen_1",
    base_model_slug="tiny",
    positive_prompt="a red cat",
    negative_prompt="blurry",
    adapters=(),
    guidance=5.0,
    width_px=64,
    height_px=64,
    steps=9,
    seed=3,
    scheduler="ddim",
)
MASKED = SourceImage(64, 64, bytes(range(256)) * 48, 0.9, bytes(2048) + b"\xff" * 2048)


@pytest.fixture
async def engines(directory):
    engines = [BatchEngine(threads=1), BatchEngine(threads=1)]
    for engine in engines:
        await engine.open(BaseModelFiles("tiny", directory, "sd", 64))
    yield engines
    for engine in engines:
        await engine.close()


async def handed_back(engine, request, after=4):
    """What is left of a run that is stopped after so many steps by the worker's end."""
    stop = StopSignal()

    def on_progress(progress):
        if progress.step == after:
            stop.set(StopReason.DRAINING)

    with pytest.raises(DrawStopped) as stopped:
        await engine.draw(request, stop=stop, on_progress=on_progress)
    return stopped.value.state


async def drawn(engine, request):
    """The picture and the steps that were made for it."""
    steps = []
    result = await engine.draw(request, stop=StopSignal(), on_progress=lambda progress: steps.append(progress.step))
    return result, steps


def farthest(result, pixels):
    return np.abs(np.frombuffer(result.rgb, np.uint8).reshape(pixels.shape).astype(int) - pixels).max()


@pytest.mark.parametrize("source", [None, MASKED], ids=["from noise", "from a picture"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
async def test_a_run_goes_on_elsewhere_with_the_same_picture(engines, stock, scheduler, source):
    request = replace(REQUEST, scheduler=scheduler, source=source)
    mates = [drawn(engines[0], replace(REQUEST, seed=seed, steps=12)) for seed in (7, 8)]
    state, *_ = await asyncio.gather(handed_back(engines[0], request), *mates)
    result, steps = await drawn(engines[1], replace(request, resume=state))
    assert steps[0] == 5
    assert farthest(result, stock.draw(request)[1]) <= 1


async def test_a_state_of_another_run_changes_nothing(engines, stock):
    state = await handed_back(engines[0], replace(REQUEST, steps=12))
    for broken in (state, b"", b"no", state[:-8]):
        result, steps = await drawn(engines[1], replace(REQUEST, resume=broken))
        assert steps[0] == 1
        assert farthest(result, stock.draw(REQUEST)[1]) == 0


@pytest.mark.parametrize(
    "generator",
    [torch.zeros(16, dtype=torch.uint8), torch.full((5056,), 255, dtype=torch.uint8), torch.zeros(5056)],
    ids=["short", "not one", "of floats"],
)
async def test_random_numbers_that_are_none_let_a_run_be_drawn_anew(engines, stock, generator):
    request = replace(REQUEST, scheduler="euler_ancestral", steps=4)
    state = load(await handed_back(engines[0], request, after=2))
    result, steps = await drawn(engines[1], replace(request, resume=save(state | {"generator": generator})))
    assert steps[0] == 1
    assert farthest(result, stock.draw(request)[1]) == 0


async def test_a_cancelled_run_leaves_no_state(engines):
    stop = StopSignal()
    with pytest.raises(DrawStopped) as stopped:
        await engines[0].draw(REQUEST, stop=stop, on_progress=lambda _: stop.set(StopReason.CANCELED))
    assert stopped.value.state is None


async def test_a_step_that_hangs_is_seen_from_outside_and_an_idle_engine_is_not_busy(engines, monkeypatch):
    engine, began, release = engines[0], threading.Event(), threading.Event()
    assert engine.busy_s == 0
    inner = waves.Batch.step

    def step(batch):
        began.set()
        release.wait(30)
        inner(batch)

    monkeypatch.setattr(waves.Batch, "step", step)
    drawing = asyncio.create_task(drawn(engine, REQUEST))
    await asyncio.to_thread(began.wait, 30)
    before_s = engine.busy_s
    await asyncio.to_thread(release.wait, 0.01)
    assert engine.busy_s > before_s >= 0
    release.set()
    await drawing
    await engine._steps.call(lambda: None)
    await engine._pictures.thread.run(lambda: None)
    assert engine.busy_s == 0


async def test_what_hangs_between_two_steps_is_seen_too(engines, monkeypatch):
    engine, began, release = engines[0], threading.Event(), threading.Event()
    inner = waves.Wave.admit

    def admit(wave):
        began.set()
        release.wait(30)
        inner(wave)

    monkeypatch.setattr(waves.Wave, "admit", admit)
    drawing = asyncio.create_task(drawn(engine, REQUEST))
    await asyncio.to_thread(began.wait, 30)
    await asyncio.to_thread(release.wait, 0.01)
    assert engine.busy_s > 0
    release.set()
    await drawing
    called, ended = threading.Event(), threading.Event()
    calling = asyncio.create_task(engine._steps.call(lambda: (called.set(), ended.wait(30))))
    await asyncio.to_thread(called.wait, 30)
    await asyncio.to_thread(ended.wait, 0.01)
    assert engine.busy_s > 0
    ended.set()
    await calling


async def test_each_number_of_rows_that_is_measured_has_the_time_of_a_step(engines):
    model, steps, busy_s = engines[0]._models["tiny"], engines[0]._steps, []

    def give_way():
        before_s = steps.busy_s
        steps.give_way()
        busy_s.append((before_s, steps.busy_s))

    await steps.call(lambda: MEASURE(model, give_way))
    assert len(busy_s) > 1
    assert all(after_s < before_s for before_s, after_s in busy_s)


async def test_others_step_while_a_base_model_that_comes_later_is_measured(engines, directory, monkeypatch):
    engine, steps, seen, stop = engines[0], [], [], StopSignal()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_progress(progress):
        steps.append(progress.step)
        loop.call_soon_threadsafe(begun.set)

    monkeypatch.setattr(Model, "measure", MEASURE)
    monkeypatch.setattr(Model, "_best_step_s", lambda *_: (seen.append(len(steps)), 1.0)[1])
    request = replace(REQUEST, steps=900)
    drawing = asyncio.create_task(engine.draw(request, stop=stop, on_progress=on_progress))
    await asyncio.wait_for(begun.wait(), 30)
    await engine.open(BaseModelFiles("second", directory, "sd", 64))
    stop.set(StopReason.CANCELED)
    with pytest.raises(DrawStopped):
        await drawing
    assert len(seen) > 2
    assert all(after > before for before, after in itertools.pairwise(seen))
