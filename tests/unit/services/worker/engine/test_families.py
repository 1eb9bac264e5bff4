"""Every run of a mixed batch equals its family's stock pipeline alone, for a tiny model of each family."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from services.catalog.manifest import SCHEDULERS, read_manifest
from services.catalog.seeding import served_files
from services.worker.engine import loading
from services.worker.engine.base import AdapterUse, SourceImage, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.failures import SchedulerUnknown, SourceUnsupported
from services.worker.engine.families import FAMILIES
from tests.support import schedules, tiny_families
from tests.support.judged_engine import JudgedEngine, request_of
from tests.support.tiny_families import family_lora, tiny_family

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

NAMINGS = {
    "sd": ["peft", "diffusers", "kohya"],
    "sdxl": ["peft", "diffusers", "kohya", "first"],
    "sd3": ["peft", "diffusers"],
    "flux": ["peft", "first"],
}
#: How a scheduler steps in a batch of others; those that a family's stock pipeline refuses are left out.
TABULATED = {
    "sd": ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"],
    "sdxl": ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"],
    "sd3": ["flow_euler"],
    "flux": ["flow_euler"],
}


class Place(JudgedEngine):
    """One of a family, with a LoRA in each of its namings."""

    def __init__(self, kind, directory, folder):
        self.family = tiny_families.FAMILIES[kind]
        super().__init__(directory, self.family)
        self.loras = [self._lora(folder / f"{naming}.safetensors", naming) for naming in NAMINGS[self.family]]
        wild, alien = folder / "wild.safetensors", folder / "alien.safetensors"
        family_lora(wild, self.stock._pipeline, self.family, text=False, strength=1e19)
        save_file(
            {f"{FAMILIES[self.family].denoiser}.x.{name}.lora_A.weight": torch.ones(4, 4) for name in "ab"}, alien
        )
        self.bad = {"wild": _use(wild), "alien": _use(alien), "gone": _use(wild, folder / "gone.safetensors")}

    def _lora(self, path, naming):
        chosen = {"seed": len(naming), "rank": 3 * len(naming), "alpha": 5.0}
        family_lora(path, self.stock._pipeline, self.family, naming, **chosen)
        return _use(path)

    def request(self, *adapters, **changes):
        usual = {"guidance": 4.0, "steps": 3, "scheduler": TABULATED[self.family][0]}
        return request_of(*adapters, **usual | changes)


def _use(path, gone=None):
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if gone is None else "0" * 64
    return AdapterUse(f"model_{path.stem}", digest, gone or path, 1.0)


@pytest.fixture(scope="module", params=tiny_families.MAKERS)
def place(request, tmp_path_factory):
    with warnings.catch_warnings(action="ignore"):
        directory = tiny_family(request.param, tmp_path_factory.mktemp("base"))
        made = Place(request.param, directory, tmp_path_factory.mktemp("loras"))
    yield made
    made.close()


def pixels(result):
    return np.frombuffer(result.rgb, np.uint8).astype(int)


def weighted(use, weight):
    return AdapterUse(use.model_id, use.sha256, use.path, weight)


def test_a_batch_of_requests_that_differ_in_everything_draws_each_as_stock(place):
    draw = random.Random(3)  # noqa: S311 - it makes up requests
    requests = [
        place.request(
            *(weighted(use, round(draw.uniform(0.2, 1.2), 2)) for use in draw.sample(place.loras, number % 3)),
            positive_prompt=draw.choice(["a red cat", "two dogs", "x"]),
            negative_prompt=("", "blurry")[number // 2 % 2],
            guidance=draw.choice([1.0, 3.5, 7.5]),
            width_px=(64, 64, 64, 32)[number % 4],
            steps=2 + number % 3,
            seed=number,
            scheduler=TABULATED[place.family][number % len(TABULATED[place.family])],
        )
        for number in range(8)
    ]
    for ending in place.draw(*requests):
        place.check(*ending)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_schedule_each_run_ends_as_it_would_alone(place, data):
    names = TABULATED[place.family]
    pool = [
        place.request(
            *(weighted(use, 0.4 + 0.3 * number) for use in place.loras[: number % 3]),
            guidance=(4.0, 1.0, 7.5)[number % 3],
            negative_prompt=("", "blurry")[number % 2],
            width_px=(64, 64, 32)[number % 3],
            steps=3 + number % 3,
            seed=number,
            scheduler=names[number % len(names)],
        )
        for number in range(5)
    ]
    schedules.check(place, schedules.plans(data, pool, place.bad, most_runs=5))


def test_each_naming_of_a_lora_changes_the_picture_as_stock_does(place):
    plain, *others = place.draw(place.request(), *(place.request(use) for use in place.loras))
    assert [report.ignored_keys for _, _, result in others for report in result.adapter_reports] == [0] * len(others)
    for ending in others:
        assert ending[2].rgb != plain[2].rgb
        place.check(*ending)


def test_guidance_with_and_without_a_negative_prompt_is_as_in_stock(place):
    steered = [
        place.request(guidance=guidance, negative_prompt=negative)
        for guidance in (0.0, 1.0, 6.0)
        for negative in ("", "blurry")
    ]
    for ending in place.draw(*steered):
        place.check(*ending)


def test_weight_0_is_the_base_models_picture_bit_for_bit(place):
    ((_, stop, with_lora),) = place.draw(place.request(*(weighted(use, 0.0) for use in place.loras)))
    ((_, other, without),) = place.draw(place.request())
    assert with_lora.rgb == without.rgb
    assert place.latents[stop].equal(place.latents[other])


def test_a_run_alone_is_the_stock_pipelines_to_the_last_bit(place):
    for request in (place.request(guidance=1.0, seed=2), place.request(seed=3)):
        ((_, stop, _),) = place.draw(request)
        latents, _ = place.stock.draw(request)
        assert place.latents.pop(stop).equal(latents)


def test_the_catalog_reads_the_plain_directory_and_offers_what_the_engine_draws(place):
    directory = place.model.base.directory
    manifest = read_manifest(directory, slug="tiny")
    assert served_files(directory, manifest)
    assert (manifest.family, manifest.sizing) == (place.family, "direct")
    assert set(SCHEDULERS[place.family]) == set(FAMILIES[place.family].schedulers)
    offered = place.request(
        scheduler=manifest.default_scheduler, steps=2, guidance=manifest.default_guidance, negative_prompt="blurry"
    )
    for ending in place.draw(offered):
        place.check(*ending)


def test_schedulers_without_tables_step_as_in_stock_each_by_a_copy_of_its_own(place):
    tabulated = TABULATED[place.family]
    others = [name for name in FAMILIES[place.family].schedulers if name not in tabulated]
    if place.family == "sdxl":
        others = ["heun", "pndm", "tcd"]  # the others are those of `sd`, in the same way
    if place.family == "flux":
        with pytest.raises(SchedulerUnknown):
            place.draw(place.request(scheduler="flow_heun"))
        return
    requests = [place.request(scheduler=name, steps=5, seed=seed) for seed, name in enumerate(others)]
    mate = place.request(scheduler=tabulated[0], steps=4)
    for ending in place.draw(*requests, mate):
        place.check(*ending)


def test_in_half_precision_as_on_gpus_the_picture_is_nearly_the_same(place, monkeypatch):
    monkeypatch.setattr(loading, "dtype_of", lambda _: torch.bfloat16)
    half = BatchEngine(threads=1)
    base = place.model.base
    requests = [place.request(), place.request(place.loras[0], guidance=2.0, negative_prompt="blurry")]

    async def drawn():
        await half.open(base)
        try:
            if place.family == "sdxl":
                assert half._models["tiny"].pipeline.vae.dtype == torch.float32
            return [await half.draw(one, stop=StopSignal(), on_progress=lambda _: None) for one in requests]
        finally:
            await half.close()

    for result, (_, _, full) in zip(asyncio.run(drawn()), place.draw(*requests), strict=True):
        assert np.abs(pixels(result) - pixels(full)).mean() < 6


def test_a_directory_of_another_precision_alone_is_drawn_the_same(place, tmp_path):
    directory = Path(shutil.copytree(place.model.base.directory, tmp_path / "base"))
    for path in directory.glob("*/*.safetensors"):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    other = BatchEngine(threads=1)

    async def drawn():
        await other.open(replace(place.model.base, directory=directory))
        try:
            return await other.draw(place.request(), stop=StopSignal(), on_progress=lambda _: None)
        finally:
            await other.close()

    result = asyncio.run(drawn())
    ((_, _, plain),) = place.draw(place.request())
    assert result.rgb == plain.rgb


def source_of(strength, mask=None):
    rows = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    return SourceImage(64, 64, rows.tobytes(), strength, mask)


def right_half():
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    return mask.tobytes()


def test_a_run_from_a_picture_among_others_is_drawn_as_in_stock(place):
    names = [*TABULATED[place.family], *{"sd": ("heun", "pndm"), "sdxl": ("dpm2", "unipc")}.get(place.family, ())]
    if place.family == "sd3":
        names.append("flow_heun")
    requests = [
        place.request(
            *place.loras[: seed % 2],
            source=source_of(strength),
            scheduler=names[seed % len(names)],
            negative_prompt=("", "blurry")[seed % 2],
            steps=5,
            seed=seed,
        )
        for seed, strength in enumerate([0.7, 0.5, 1.0, 0.25, 0.7, 0.9, 0.4])
    ]
    for ending in place.draw(*requests, place.request(place.loras[0])):
        place.check(*ending)


def test_a_run_from_a_picture_that_is_alone_is_drawn_as_in_stock(place):
    for strength in (0.25, 0.6):
        (ending,) = place.draw(place.request(source=source_of(strength), steps=5))
        place.check(*ending)


def test_progress_of_a_run_from_a_picture_counts_the_steps_that_stock_makes(place):
    told = []
    request = place.request(source=source_of(0.5), steps=5)
    stop = StopSignal()
    asyncio.run(place.engine.draw(request, stop=stop, on_progress=lambda one: told.append((one.step, one.steps))))
    count = len(place.stock.steps_of(request))
    assert told == [(step + 1, count) for step in range(count)]


def test_a_strength_of_0_gives_the_picture_back(place):
    ((_, _, result),) = place.draw(place.request(source=source_of(0.0)))
    assert result.rgb == source_of(0.0).rgb


def test_a_mask_is_drawn_as_in_stock_or_refused(place):
    masked = source_of(0.7, right_half())
    if not FAMILIES[place.family].takes_masks:
        with pytest.raises(SourceUnsupported, match="mask"):
            place.draw(place.request(source=masked))
        return
    names = [*TABULATED[place.family], *(("heun", "pndm") if place.family == "sd" else ("dpm2", "unipc"))]
    requests = [place.request(source=masked, scheduler=name, steps=5, seed=seed) for seed, name in enumerate(names)]
    for ending in place.draw(*requests, place.request(place.loras[0])):
        place.check(*ending)


def test_sizes_that_no_grid_fits_are_drawn_a_little_larger_and_cropped(place):
    ((_, stop, result),) = place.draw(place.request(width_px=72, height_px=50))
    assert (result.width_px, result.height_px) == (72, 50)
    grid = FAMILIES[place.family].grid_px
    assert [side * 8 for side in place.latents[stop].shape[2:]] == [-(-50 // grid) * grid, -(-72 // grid) * grid]
