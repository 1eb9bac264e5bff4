"""Every run of a mixed batch equals the stock pipeline alone, whoever its mates are and whatever becomes of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
import warnings
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from services.worker.engine import waves
from services.worker.engine.base import (
    AdapterIncompatible,
    AdapterMissing,
    AdapterUse,
    DrawFailed,
    DrawRequest,
    DrawStopped,
    NotFinite,
    OutOfMemory,
    SourceImage,
    StopReason,
    StopSignal,
)
from tests.support.judged_engine import JudgedEngine, request_of
from tests.support.tiny_models import conv_lora_file, lora_file, tiny_base

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS = ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"]
SCHEDULES = {
    "noise": {},
    "velocity": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
    "clipped": {"clip_sample": True, "clip_sample_range": 3.0},
}


@pytest.fixture(scope="module", params=SCHEDULES)
def place(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("base")
    with warnings.catch_warnings(action="ignore"):
        tiny_base(directory)
        path = directory / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | SCHEDULES[request.param]))
        made = JudgedEngine(directory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    settings = {"unet.r": 4, "unet.lora_alpha": 3, "unet.use_rslora": True, "unet.target_modules": []}
    files = [
        lora_file(folder / "peft.safetensors", seed=1, rank=4, strength=0.15),
        lora_file(folder / "kohya.safetensors", "kohya", seed=2, rank=12, alpha=5.0, text=True, strength=0.15),
        lora_file(folder / "half.safetensors", "diffusers", seed=3, rank=8, dtype=torch.float16, strength=0.15),
        conv_lora_file(folder / "conv.safetensors", seed=4),
        conv_lora_file(folder / "stable.safetensors", seed=5, settings=settings),
    ]
    return [AdapterUse(f"model_{path.stem}", digest(path), path, 1.0) for path in files]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weighted(use, weight):
    return AdapterUse(use.model_id, use.sha256, use.path, weight)


PIXELS = random.Random(3).randbytes(64 * 64 * 3)  # noqa: S311 - it makes up a picture
#: Sources of runs: drawn anew in part of the steps, and only where a mask says so.
WHOLE = SourceImage(64, 64, PIXELS, 0.6)
MASKED = SourceImage(64, 64, PIXELS, 0.8, bytes(64 * 30) + b"\xff" * (64 * 34))


def requests_of(loras, count, seed=0):
    """Requests that differ in everything."""
    draw = random.Random(seed)  # noqa: S311 - it makes up requests
    made = []
    for number in range(count):
        picked = draw.sample(loras, draw.choice([0, 1, 1, 2]))
        source = draw.choice([None, None, WHOLE, MASKED])
        made.append(
            request_of(
                *(weighted(use, round(draw.uniform(0.2, 1.2), 2)) for use in picked),
                positive_prompt=draw.choice(["a red cat", "two dogs", "x"]),
                negative_prompt=draw.choice(["", "blurry"]),
                guidance=draw.choice([1.0, 4.0, 7.5, 9.0]),
                width_px=64 if source else draw.choice([64, 64, 128]),
                source=source,
                organization_id=draw.choice(["org_1", "org_2"]),
                steps=draw.choice([10, 15, 20]),
                seed=number,
                scheduler=SCHEDULERS[number % len(SCHEDULERS)],
            )
        )
    return made


async def draw(place, request, stop=None, on_progress=lambda _: None):
    stop = stop or StopSignal()
    result = await place.engine.draw(request, stop=stop, on_progress=on_progress)
    return request, stop, result


def test_a_batch_of_requests_that_differ_in_everything_draws_each_as_stock(place, loras):
    async def all_at_once():
        return await asyncio.gather(*(draw(place, request) for request in requests_of(loras, 10)))

    for request, stop, result in asyncio.run(all_at_once()):
        place.check(request, stop, result)
        assert [one.ignored_keys for one in result.adapter_reports] == [0] * len(request.adapters)
    assert place.model.adapters.held_sha256s == frozenset()


@dataclass
class Plan:
    """One run of a schedule: which request, after how many steps of all it joins, and what becomes of it."""

    request: DrawRequest
    joins_after: int
    fate: str
    at_step: int


class Drawing:
    """Lets the runs of a schedule join as it says and collects how they end."""

    def __init__(self, place, plans):
        self.place = place
        self.waiting = sorted(plans, key=lambda plan: plan.joins_after)
        self.steps = 0
        self.tasks = []
        self.endings = []
        self.moved = asyncio.Event()

    async def run(self):
        loop = asyncio.get_running_loop()
        active = set()
        while self.waiting or active:
            while self.waiting and (not active or self.waiting[0].joins_after <= self.steps):
                active.add(asyncio.create_task(self._draw(self.waiting.pop(0), loop)))
            self.moved.clear()
            await self.moved.wait()
            active = {task for task in active if not task.done()}
        return self.endings

    async def _draw(self, plan, loop):
        stop = StopSignal()

        def on_progress(progress):
            if plan.fate == "canceled" and progress.step == plan.at_step:
                stop.set(StopReason.CANCELED)
            loop.call_soon_threadsafe(self._stepped)

        try:
            ending = await self.place.engine.draw(plan.request, stop=stop, on_progress=on_progress)
        except (DrawFailed, DrawStopped) as problem:
            ending = problem
        self.endings.append((plan, stop, ending))
        loop.call_soon(self.moved.set)

    def _stepped(self):
        self.steps += 1
        self.moved.set()


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    wild = lora_file(folder / "wild.safetensors", strength=1e18)
    alien = folder / "alien.safetensors"
    save_file({f"unet.x.{name}.lora_A.weight": torch.ones(4, 4) for name in "ab"}, alien)
    return {
        "wild": AdapterUse("model_wild", digest(wild), wild, 1.0),
        "alien": AdapterUse("model_alien", digest(alien), alien, 1.0),
    }


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_schedule_each_run_ends_as_it_would_alone(place, loras, bad, data):
    pool = requests_of(loras, 6, seed=5)
    plans = []
    for _ in range(data.draw(st.integers(2, 6), label="runs")):
        fate = data.draw(st.sampled_from(["drawn", "drawn", "drawn", "canceled", "wild", "alien"]), label="fate")
        request = data.draw(st.sampled_from(pool), label="request")
        if fate in bad:
            request = request_of(bad[fate], seed=3)
        joins_after = data.draw(st.integers(0, 40), label="joins after")
        plans.append(Plan(request, joins_after, fate, data.draw(st.integers(1, 5), label="cancel at")))

    async def drawn():
        endings = await Drawing(place, plans).run()
        await place.engine._steps.call(lambda: None)  # the last step is over, not only answered
        return endings

    for plan, stop, ending in asyncio.run(drawn()):
        match plan.fate:
            case "drawn":
                place.check(plan.request, stop, ending)
            case "canceled":
                assert isinstance(ending, DrawStopped)
            case "wild":
                assert isinstance(ending, NotFinite)
            case "alien":
                assert isinstance(ending, AdapterIncompatible)
    assert place.model.adapters.held_sha256s == frozenset()
    assert all(not layer.slices for layer in place.model.layers.values())


def test_weight_0_among_others_is_the_base_models_picture(place, loras):
    async def both():
        one = await draw(place, request_of(weighted(loras[1], 0.0)))
        return one, await draw(place, request_of())

    (_, _, with_lora), (_, _, without) = asyncio.run(both())
    assert with_lora.rgb == without.rgb


def test_a_hundred_runs_cancelled_in_one_step_leave_their_mates_alone(place, loras):
    stops = [StopSignal() for _ in range(100)]

    def cancel_all(progress):
        if progress.step == 2:
            for stop in stops:
                stop.set(StopReason.CANCELED)

    async def schedule():
        survivor = asyncio.create_task(draw(place, request_of(loras[0], seed=8), None, cancel_all))
        others = [draw(place, request_of(loras[1], seed=seed), stop) for seed, stop in enumerate(stops)]
        endings = await asyncio.gather(*others, return_exceptions=True)
        return await survivor, endings

    survivor, endings = asyncio.run(schedule())
    assert {type(ending) for ending in endings} <= {DrawStopped}
    place.check(*survivor)
    assert place.model.adapters.held_sha256s == frozenset()


def test_a_step_beyond_memory_is_made_in_halves(place, loras, monkeypatch):
    widths = []
    inner = waves.Batch.step

    def step(batch):
        if batch.row_count > 4:
            raise torch.OutOfMemoryError
        widths.append(batch.row_count)
        inner(batch)

    monkeypatch.setattr(waves.Batch, "step", step)
    monkeypatch.setattr(place.model, "_row_caps", {})

    async def all_at_once():
        return await asyncio.gather(*(draw(place, request) for request in requests_of(loras, 5)))

    for ending in asyncio.run(all_at_once()):
        place.check(*ending)
    assert max(widths) <= 4


def test_a_run_that_never_fits_fails_alone(place, loras, monkeypatch):
    inner = waves.Batch.step

    def step(batch):
        if any(run.steps == 15 for run in batch.runs):
            raise torch.OutOfMemoryError
        inner(batch)

    monkeypatch.setattr(waves.Batch, "step", step)
    monkeypatch.setattr(place.model, "_row_caps", {})

    async def both():
        bad = draw(place, request_of(steps=15))
        return await asyncio.gather(bad, draw(place, request_of(loras[0])), return_exceptions=True)

    failed, fine = asyncio.run(both())
    assert isinstance(failed, OutOfMemory)
    place.check(*fine)


def test_a_step_that_breaks_ends_only_the_run_at_fault(place, loras, monkeypatch):
    inner = waves.Batch.step

    def step(batch):
        if any(run.steps == 15 and run.step == 3 for run in batch.runs):
            raise ValueError("broken")
        inner(batch)

    monkeypatch.setattr(waves.Batch, "step", step)
    wave = {"scheduler": "euler_ancestral", "seed": 4}

    async def both():
        bad = draw(place, request_of(steps=15))
        return await asyncio.gather(bad, draw(place, request_of(loras[0], **wave)), return_exceptions=True)

    failed, fine = asyncio.run(both())
    assert isinstance(failed, ValueError)
    place.check(*fine)


def test_a_file_that_vanished_ends_its_run_alone(place, loras, tmp_path):
    path = shutil.copy(loras[0].path, tmp_path / "gone.safetensors")
    save_file(load_file(path) | {"extra.alpha": torch.ones(())}, path)
    gone = AdapterUse("model_gone", digest(tmp_path / "gone.safetensors"), tmp_path / "gone.safetensors", 1.0)
    gone.path.unlink()

    async def both():
        return await asyncio.gather(
            draw(place, request_of(gone)), draw(place, request_of(loras[0])), return_exceptions=True
        )

    failed, fine = asyncio.run(both())
    assert isinstance(failed, AdapterMissing)
    place.check(*fine)
    assert gone.sha256 not in place.model.adapters.sha256s
