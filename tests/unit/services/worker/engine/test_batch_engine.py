"""One run on an idle engine against its oracle, the stock pipeline; mixed batches are in `test_mixed_batches`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file, save_file

from services.worker.engine import memory
from services.worker.engine.base import (
    AdapterUse,
    BaseModelFiles,
    DrawRequest,
    DrawStopped,
    StopReason,
    StopSignal,
    UpscaleRequest,
)
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.failures import (
    AdapterIncompatible,
    BaseModelBroken,
    NotFinite,
    OutOfMemory,
    SchedulerUnknown,
)
from services.worker.engine.upscaler import Enlargement
from tests.support.tiny_models import UNET_MODULES, lora_file

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def opened(directory):
    """One engine for all tests; it lives over their event loops."""
    engine = BatchEngine(threads=1)
    asyncio.run(engine.open(BaseModelFiles("tiny", directory, "sd", 64, upscaler="upscaler.safetensors")))
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def engine(opened, monkeypatch):
    """The engine with nothing in its memory."""
    monkeypatch.setattr(memory, "free", lambda _: None)  # collections of garbage would take most of the time here
    opened._adapter_memory.give_back()
    return opened


def request_of(*adapters, **changes):
    request = DrawRequest(
        run_id="gen_1",
        base_model_slug="tiny",
        positive_prompt="a red cat on a mat",
        negative_prompt="blurry",
        adapters=adapters,
        guidance=5.0,
        width_px=64,
        height_px=64,
        steps=3,
        seed=11,
        scheduler="ddim",
    )
    return replace(request, **changes)


def use_of(path, weight=0.8):
    return AdapterUse("model_1", hashlib.sha256(path.read_bytes()).hexdigest(), path, weight)


async def draw(engine, request):
    result = await engine.draw(request, stop=StopSignal(), on_progress=lambda _: None)
    assert (result.width_px, result.height_px) == (request.width_px, request.height_px)
    return result


def assert_same(result, stock, request):
    """Equal to one grey level of 255: the rounding of a sum that was added in another order."""
    ours = np.frombuffer(result.rgb, np.uint8).astype(int)
    assert np.abs(ours - stock.draw(request)[1].ravel()).max() <= 1


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"])
async def test_the_base_models_picture_is_the_stock_pipelines(engine, stock, scheduler):
    request = request_of(scheduler=scheduler)
    assert_same(await draw(engine, request), stock, request)


@pytest.mark.parametrize("guidance", [1.0, 1.5, 20.0])
async def test_guidance_is_the_stock_pipelines(engine, stock, guidance):
    request = request_of(guidance=guidance, width_px=128)
    assert_same(await draw(engine, request), stock, request)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(
    ("naming", "alpha"),
    [("peft", None), ("diffusers", None), ("diffusers-old", None), ("kohya", None), ("kohya", 2.0)],
)
async def test_a_lora_in_any_naming_draws_the_stock_pipelines_picture(engine, stock, tmp_path, naming, alpha, text):
    if text and naming == "diffusers-old":
        pytest.skip("the older naming of text encoders has no mlp layers")
    use = use_of(lora_file(tmp_path / "l.safetensors", naming, alpha=alpha, text=text))
    request = request_of(use)
    result = await draw(engine, request)
    assert_same(result, stock, request)
    assert result.rgb != (await draw(engine, request_of())).rgb
    tensors = load_file(use.path)
    assert (result.adapter_reports[0].matched_keys, result.adapter_reports[0].ignored_keys) == (len(tensors), 0)


async def test_a_half_precision_lora_draws_the_stock_pipelines_picture(engine, stock, tmp_path):
    request = request_of(use_of(lora_file(tmp_path / "l.safetensors", dtype=torch.float16)))
    assert_same(await draw(engine, request), stock, request)


async def test_several_loras_draw_the_stock_pipelines_picture(engine, stock, tmp_path):
    uses = [
        use_of(lora_file(tmp_path / f"{seed}.safetensors", "kohya", seed=seed, rank=rank, alpha=alpha, text=True), 0.3)
        for seed, rank, alpha in [(1, 4, 2.0), (2, 8, 8.0), (3, 2, 1.0)]
    ]
    request = request_of(*uses, scheduler="euler_ancestral")
    assert_same(await draw(engine, request), stock, request)


async def test_weight_0_is_the_base_models_picture_bit_for_bit(engine, tmp_path):
    base = await draw(engine, request_of())
    use = use_of(lora_file(tmp_path / "l.safetensors", text=True), 0.0)
    drawn = await draw(engine, request_of(use))
    assert drawn.rgb == base.rgb
    assert drawn.adapter_reports[0].matched_keys > 0


async def test_the_same_seed_gives_the_same_picture_and_another_seed_another(engine):
    first = await draw(engine, request_of(scheduler="euler_ancestral"))
    again = await draw(engine, request_of(scheduler="euler_ancestral"))
    other = await draw(engine, request_of(scheduler="euler_ancestral", seed=12))
    assert first.rgb == again.rgb != other.rgb


async def test_switching_loras_leaves_nothing_behind(engine, stock, tmp_path):
    base = await draw(engine, request_of())
    weights_before = base_digest(engine)
    uses = [
        use_of(lora_file(tmp_path / f"{seed}.safetensors", seed=seed, text=seed % 2 == 0, rank=seed + 1), 1.0)
        for seed in range(9)
    ]
    for use in uses:
        await draw(engine, request_of(use))
    assert len(engine.warm_sha256s) == 9
    request = request_of(uses[0])
    assert_same(await draw(engine, request), stock, request)
    assert (await draw(engine, request_of())).rgb == base.rgb
    assert base_digest(engine) == weights_before


def base_digest(engine):
    digest = hashlib.sha256()
    pipeline = engine._models["tiny"].pipeline
    for model in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        weights = {key.replace(".base_layer", ""): value for key, value in model.state_dict().items()}
        for key in sorted(key for key in weights if "lora_" not in key):
            digest.update(key.encode() + weights[key].numpy().tobytes())
    return digest.hexdigest()


def corrupt(path, kind):
    good = load(lora_file(path).read_bytes())
    module = next(iter(UNET_MODULES))
    match kind:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-40])
        case "pickle":
            torch.save(good, path)
        case "empty":
            path.write_bytes(b"")
        case "of another base":
            save_file({key.replace("blocks.0", "blocks.9").replace("mid_", "x_"): t for key, t in good.items()}, path)
        case "other shapes":
            save_file({key: torch.ones(4, 4) for key in good}, path)
        case "half a pair":
            save_file({key: t for key, t in good.items() if key != f"unet.{module}.lora_B.weight"}, path)
        case "nan":
            save_file({key: t * float("nan") for key, t in good.items()}, path)
        case "dora":
            save_file(good | {f"unet.{module}.lora_magnitude_vector": torch.ones(16)}, path)
    return path


@pytest.mark.parametrize(
    "kind", ["truncated", "pickle", "empty", "of another base", "other shapes", "half a pair", "nan", "dora"]
)
async def test_a_bad_lora_is_refused_and_leaves_nothing_behind(engine, tmp_path, kind):
    base = await draw(engine, request_of())
    with pytest.raises(AdapterIncompatible):
        await draw(engine, request_of(use_of(corrupt(tmp_path / "bad.safetensors", kind))))
    assert engine.warm_sha256s == frozenset()
    assert (await draw(engine, request_of())).rgb == base.rgb


async def test_numbers_that_run_away_are_told_and_leave_nothing_behind(engine, tmp_path):
    base = await draw(engine, request_of())
    use = use_of(lora_file(tmp_path / "wild.safetensors", strength=1e18))
    with pytest.raises(NotFinite):
        await draw(engine, request_of(use))
    assert (await draw(engine, request_of())).rgb == base.rgb


async def test_a_picture_beyond_memory_is_told_after_one_more_try(engine):
    base = await draw(engine, request_of())
    with pytest.raises(OutOfMemory):
        await draw(engine, request_of(width_px=1 << 26, height_px=1 << 26))
    assert (await draw(engine, request_of())).rgb == base.rgb


async def test_an_unknown_scheduler_is_told(engine):
    with pytest.raises(SchedulerUnknown):
        await draw(engine, request_of(scheduler="dpm++"))


async def test_a_broken_base_model_is_told(engine, tmp_path):
    with pytest.raises(BaseModelBroken):
        await engine.open(BaseModelFiles("broken", tmp_path))


@pytest.mark.parametrize(
    "kind", ["truncated weights", "another shape", "no scheduler", "no upscaler", "a family unknown"]
)
async def test_a_corrupt_base_model_is_told_and_spares_the_others(engine, directory, tmp_path, kind):
    shutil.copytree(directory, tmp_path / "base")
    weights = tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    config = tmp_path / "base" / "unet" / "config.json"
    family = "sd"
    match kind:
        case "truncated weights":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "another shape":
            config.write_text(json.dumps(json.loads(config.read_text()) | {"block_out_channels": [24, 48]}))
        case "no scheduler":
            shutil.rmtree(tmp_path / "base" / "scheduler")
        case "no upscaler":
            (tmp_path / "base" / "upscaler.safetensors").unlink()
        case "a family unknown":
            family = "none"
    with pytest.raises(BaseModelBroken):
        await engine.open(BaseModelFiles("bad", tmp_path / "base", family, 64, upscaler="upscaler.safetensors"))
    await draw(engine, request_of())


async def test_a_stop_ends_the_run_at_the_next_step(engine):
    stop, steps = StopSignal(), []

    def on_progress(progress):
        steps.append(progress.step)
        if progress.step == 2:
            stop.set(StopReason.CANCELED)

    with pytest.raises(DrawStopped):
        await engine.draw(request_of(steps=20), stop=stop, on_progress=on_progress)
    assert steps == [1, 2]


async def test_a_base_that_upscales_reaches_the_exact_size(directory, stock):
    engine = BatchEngine(threads=1)
    await engine.open(BaseModelFiles("tiny", directory, "sd", 64, upscales=True, upscaler="upscaler.safetensors"))
    request = request_of(width_px=264, height_px=136)
    large = await draw(engine, request)
    pixels = np.frombuffer(large.rgb, np.uint8).reshape(136, 264, 3)
    assert pixels.std() > 0
    small = await draw(engine, request_of(width_px=64, height_px=64))
    assert_same(small, stock, request_of(width_px=64, height_px=64))
    await engine.close()


def source(width=150, height=140):
    return Image.effect_noise((width, height), 60).convert("RGB")


@pytest.mark.parametrize("scale", [2, 4])
async def test_a_picture_is_enlarged_tile_by_tile(engine, scale):
    image, steps = source(), []
    request = UpscaleRequest("gen_2", "tiny", image.width, image.height, image.tobytes(), scale)
    result = await engine.upscale(request, stop=StopSignal(), on_progress=steps.append)
    assert (result.width_px, result.height_px) == (150 * scale, 140 * scale)
    assert [(one.step, one.steps) for one in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    enlargement = Enlargement(image, scale, engine._models["tiny"].upscaler, torch.device("cpu"))
    while enlargement.step < enlargement.steps:
        enlargement.advance()
    assert result.rgb == enlargement.image().tobytes()


async def test_an_enlarging_that_is_stopped_ends_at_the_next_tile(engine):
    image, stop, steps = source(), StopSignal(), []

    def on_progress(progress):
        steps.append(progress.step)
        stop.set(StopReason.CANCELED)

    request = UpscaleRequest("gen_2", "tiny", image.width, image.height, image.tobytes(), 4)
    with pytest.raises(DrawStopped):
        await engine.upscale(request, stop=stop, on_progress=on_progress)
    assert steps == [1]


async def test_without_an_upscaler_a_picture_is_enlarged_by_lanczos(directory):
    engine = BatchEngine(threads=1)
    await engine.open(BaseModelFiles("tiny", directory, "sd", 64))
    image = source()
    request = UpscaleRequest("gen_2", "tiny", image.width, image.height, image.tobytes(), 2)
    result = await engine.upscale(request, stop=StopSignal(), on_progress=lambda _: None)
    assert result.rgb == image.resize((300, 280), Image.Resampling.LANCZOS).tobytes()
    await engine.close()
