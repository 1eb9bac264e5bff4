"""Every run of a mixed batch equals the stock pipeline alone, whoever its mates are and whatever becomes of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from services.worker.engine import memory, waves
from services.worker.engine.base import AdapterUse, DrawStopped, SourceImage, StopReason, StopSignal
from services.worker.engine.failures import AdapterMissing, OutOfMemory
from tests.support import schedules
from tests.support.judged_engine import JudgedEngine, request_of
from tests.support.tiny_models import conv_lora_file, lora_file

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
def scheduled(request, directory, tmp_path_factory):
    """As `place`, with each kind of noise schedule."""
    changed = Path(shutil.copytree(directory, tmp_path_factory.mktemp("base"), dirs_exist_ok=True))
    path = changed / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | SCHEDULES[request.param]))
    with warnings.catch_warnings(action="ignore"):
        made = JudgedEngine(changed)
    yield made
    made.close()


@pytest.fixture
def quick(monkeypatch):
    """Collections of garbage would take most of the time where memory runs out."""
    monkeypatch.setattr(memory, "free", lambda _: None)


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


def test_a_batch_of_requests_that_differ_in_everything_draws_each_as_stock(scheduled, loras):
    async def all_at_once():
        return await asyncio.gather(*(draw(scheduled, request) for request in requests_of(loras, 10)))

    for request, stop, result in asyncio.run(all_at_once()):
        scheduled.check(request, stop, result)
        assert [one.ignored_keys for one in result.adapter_reports] == [0] * len(request.adapters)
    assert scheduled.model.adapters.held_sha256s == frozenset()


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    wild = lora_file(folder / "wild.safetensors", strength=1e18)
    alien = folder / "alien.safetensors"
    save_file({f"unet.x.{name}.lora_A.weight": torch.ones(4, 4) for name in "ab"}, alien)
    return {
        "wild": AdapterUse("model_wild", digest(wild), wild, 1.0),
        "alien": AdapterUse("model_alien", digest(alien), alien, 1.0),
        "gone": AdapterUse("model_gone", "0" * 64, folder / "gone.safetensors", 1.0),
    }


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_schedule_each_run_ends_as_it_would_alone(scheduled, loras, bad, data):
    pool = requests_of(loras, 6, seed=5)
    schedules.check(scheduled, schedules.plans(data, pool, bad))


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
        # Whoever is first cancels: which run's LoRA is there first is not told.
        others = [draw(place, request_of(loras[1], seed=seed), stop, cancel_all) for seed, stop in enumerate(stops)]
        endings = await asyncio.gather(*others, return_exceptions=True)
        return await survivor, endings

    survivor, endings = asyncio.run(schedule())
    assert {type(ending) for ending in endings} <= {DrawStopped}
    place.check(*survivor)
    assert place.model.adapters.held_sha256s == frozenset()


def test_a_step_beyond_memory_is_made_in_halves(place, loras, quick, monkeypatch):
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


def test_a_run_that_never_fits_fails_alone(place, loras, quick, monkeypatch):
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
