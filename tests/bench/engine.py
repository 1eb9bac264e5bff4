"""The batching engine against what one does without it, as ratios; variants take turns, medians of pairs.

`usual` is the documented way: one stock pipeline, all LoRAs loaded, `set_adapters` for each request. `reload` loads and
unloads the LoRA for each request. The model has the real classes and random weights; every variant runs on one core.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from services.worker.engine.adapters import AdapterStore, PartAdapter
from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, StopSignal
from services.worker.engine.batch import Batch
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.lora_layers import LoraRows, RowLora
from services.worker.engine.model import Model
from tests.bench.report import Report
from tests.support.stock import Stock
from tests.support.tiny_models import tiny_base

PAIRS = 5
LORAS = 16
REQUESTS = 16
LOADS = 2_000
STEP_ROUNDS = 12
ACTIVATIONS = 20


def run(report: Report) -> None:
    """Measure all that fits on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        base = _base(Path(folder) / "base")
        files = [_lora(base, Path(folder) / f"{number}.safetensors", number) for number in range(LORAS)]
        stock, engine = Stock(base), BatchEngine(threads=1, device="cpu")
        asyncio.run(engine.open(BaseModelFiles("bench", base, "sd", 64)))
        model = engine._models["bench"]
        report.figure("rows_per_step", model.native_row_cap, "rows")
        _steps(report, engine, model, files)
        _activation(report, stock, model, files)
        _memory(report, model, files)
        _single(report, stock, engine, files)
        _traffic(report, stock, engine, files)
        asyncio.run(engine.close())


def _traffic(report: Report, stock: Stock, engine: BatchEngine, files: list[AdapterUse]) -> None:
    for side_px, must, aim in ((64, 3.0, 6.0), (128, 1.7, 2.8)):
        requests = _requests(files, side_px)
        with _preloaded(stock, files) as usual:
            of_usual = _faster(engine, requests, usual)
        side = f"{side_px // 8}x{side_px // 8}"
        report.figure(f"images_ours_over_usual_{side}", of_usual, "ratio", at_least=must, aim=aim)
    of_reload = _faster(engine, _requests(files, 64), stock._draw)
    report.figure("images_ours_over_reload_8x8", of_reload, "ratio", at_least=4.0, aim=8.0)


def _faster(engine: BatchEngine, requests: list[DrawRequest], theirs: Callable[[DrawRequest], object]) -> float:
    return _ratio(lambda: _each(requests, theirs), lambda: _together(engine, requests))


def _single(report: Report, stock: Stock, engine: BatchEngine, files: list[AdapterUse]) -> None:
    request = _request(files[0], 0.8, 7.5, 20, 1, 64)
    with _preloaded(stock, files[:1]) as usual:
        ratio = 1 / _ratio(lambda: _each([request] * 3, usual), lambda: _each_by(engine, [request] * 3))
    report.figure("single_run_ours_over_stock", ratio, "ratio", at_most=1.10, aim=0.95)


def _steps(report: Report, engine: BatchEngine, model: Model, files: list[AdapterUse]) -> None:
    """Steps of eight guided runs: with eight LoRAs, without any, and the bare UNet with as many rows."""
    latents = torch.randn(16, 4, 8, 8)
    timesteps = torch.full((16,), 500.0)
    text = torch.randn(16, 77, model.pipeline.unet.config.cross_attention_dim)
    bare = UNet2DConditionModel.from_pretrained(model.base.directory / "unet").eval().requires_grad_(False)

    @torch.inference_mode()
    def measure() -> dict[str, float]:
        batches = {
            "loras": Batch(model, [_run_of(model, use, seed) for seed, use in enumerate(files[:8])]),
            "plain": Batch(model, [_run_of(model, None, seed) for seed in range(8)]),
        }
        seconds: dict[str, list[float]] = {"loras": [], "plain": [], "bare": []}
        for _ in range(STEP_ROUNDS):
            for name, batch in batches.items():
                seconds[name].append(_timed(batch.step))
            seconds["bare"].append(_timed(lambda: bare(latents, timesteps, text, return_dict=False)))
        model.unbind()
        return {name: statistics.median(found) for name, found in seconds.items()}

    found = asyncio.run(engine._steps.call(measure))
    report.figure("step_ms_8_loras", found["loras"] * 1000, "ms")
    report.figure("pure_base_over_ours_step", found["bare"] / found["loras"], "ratio", at_least=0.55, aim=0.85)
    report.figure("step_8_loras_over_none", found["loras"] / found["plain"], "ratio", at_most=1.30, aim=1.10)


def _activation(report: Report, stock: Stock, model: Model, files: list[AdapterUse]) -> None:
    """The time that the sixteenth LoRA takes: loaded into the stock pipeline, and made a run's from memory here."""
    pipeline = stock._pipeline
    adapter = model.adapters.read(files[-1].path).parts["unet"]
    tensors = load_file(files[-1].path)
    with _preloaded(stock, files[:-1]), torch.inference_mode():
        pairs = []
        for _ in range(PAIRS):
            load_s = _timed(lambda: pipeline.load_lora_weights(dict(tensors), adapter_name="last"))
            pipeline.delete_adapters("last")
            activate_s = _timed(lambda: [_activate(model, adapter) for _ in range(ACTIVATIONS)]) / ACTIVATIONS
            pairs.append(load_s / activate_s)
    model.unbind()
    report.figure("load_over_activate_16_loaded", statistics.median(pairs), "ratio", at_least=50, aim=300)


def _activate(model: Model, adapter: PartAdapter) -> None:
    """All that stands between an adapter in memory and a step with it."""
    LoraRows(model.layers, [(0, [RowLora(adapter.layout, adapter.down, adapter.up * 0.7)])]).bind()


def _memory(report: Report, model: Model, files: list[AdapterUse]) -> None:
    """Resident memory over loads that evict each other."""
    store = AdapterStore(
        {"unet": model.pipeline.unet, "text_encoder": model.pipeline.text_encoder},
        device=model.device,
        dtype=model.dtype,
        limit_bytes=3 * model.adapters.read(files[0].path).size_bytes,
    )

    async def load(count: int) -> None:
        for number in range(count):
            async with store.hold([files[number % LORAS]]):
                pass

    asyncio.run(load(LOADS // 10))
    gc.collect()
    before_bytes = psutil.Process().memory_info().rss
    asyncio.run(load(LOADS))
    gc.collect()
    growth = psutil.Process().memory_info().rss / before_bytes - 1
    report.figure("rss_growth_2000_loads", growth * 100, "%", at_most=2.0, aim=0.0)


@contextmanager
def _preloaded(stock: Stock, files: list[AdapterUse]) -> Iterator[Callable[[DrawRequest], object]]:
    pipeline = stock._pipeline
    stock.load(files)
    names = {use.sha256: f"a{index}" for index, use in enumerate(files)}

    def draw(request: DrawRequest) -> object:
        use = request.adapters[0]
        pipeline.set_adapters(names[use.sha256], use.weight)
        return pipeline(
            request.positive_prompt,
            negative_prompt=request.negative_prompt,
            guidance_scale=request.guidance,
            width=request.width_px,
            height=request.height_px,
            num_inference_steps=request.steps,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        ).images[0]

    try:
        yield draw
    finally:
        pipeline.unload_lora_weights()


def _ratio(theirs: Callable[[], object], ours: Callable[[], object]) -> float:
    """How many times the seconds of ours theirs take: the median of pairs that take turns, the first left out."""
    pairs = [_timed(theirs) / _timed(ours) for _ in range(PAIRS + 1)]
    return statistics.median(pairs[1:])


def _timed(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _each(requests: list[DrawRequest], draw: Callable[[DrawRequest], object]) -> None:
    for request in requests:
        draw(request)


def _each_by(engine: BatchEngine, requests: list[DrawRequest]) -> None:
    async def one_by_one() -> None:
        for request in requests:
            await engine.draw(request, stop=StopSignal(), on_progress=lambda _: None)

    asyncio.run(one_by_one())


def _together(engine: BatchEngine, requests: list[DrawRequest]) -> None:
    async def all_at_once() -> None:
        drawing = [engine.draw(one, stop=StopSignal(), on_progress=lambda _: None) for one in requests]
        await asyncio.gather(*drawing)

    asyncio.run(all_at_once())


def _requests(files: list[AdapterUse], side_px: int) -> list[DrawRequest]:
    """Mixed traffic with Pareto popularity."""
    draw = random.Random(1)  # noqa: S311 - it makes up requests
    made = []
    for seed in range(REQUESTS):
        use = files[min(LORAS - 1, int(draw.paretovariate(1.2)) - 1)]
        guidance, steps = draw.choice([1.0, 4.0, 7.5, 9.0]), draw.choice([10, 15, 20])
        made.append(_request(use, draw.uniform(0.2, 1.2), guidance, steps, seed, side_px))
    return made


def _request(use: AdapterUse, weight: float, guidance: float, steps: int, seed: int, side_px: int) -> DrawRequest:
    return DrawRequest(
        run_id=f"gen_{seed}",
        base_model_slug="bench",
        positive_prompt=f"a picture of thing {seed}",
        negative_prompt="",
        adapters=(AdapterUse(use.model_id, use.sha256, use.path, weight),),
        guidance=guidance,
        width_px=side_px,
        height_px=side_px,
        steps=steps,
        seed=seed,
        scheduler="ddim",
    )


def _run_of(model: Model, use: AdapterUse | None, seed: int) -> object:
    request = _request(use or AdapterUse("none", "", Path(), 0.0), 0.8, 7.5, STEP_ROUNDS, seed, 64)
    adapters = [model.adapters.read(use.path)] if use else []
    if use is None:
        request = DrawRequest(**{name: getattr(request, name) for name in request.__slots__} | {"adapters": ()})
    return model.prepare(request, adapters, StopSignal(), lambda _: None)


def _base(directory: Path) -> Path:
    """A small Stable Diffusion of about a million parameters with random weights."""
    tiny_base(directory)
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=16,
    ).save_pretrained(directory / "unet")
    AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    ).save_pretrained(directory / "vae")
    return directory


def _lora(base: Path, path: Path, seed: int) -> AdapterUse:
    """A LoRA of rank 8 on every attention projection."""
    draw = torch.Generator().manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    tensors = {}
    for name, module in unet.named_modules():
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            tensors[f"unet.{name}.lora_A.weight"] = torch.randn(8, module.in_features, generator=draw) * 0.05
            tensors[f"unet.{name}.lora_B.weight"] = torch.randn(module.out_features, 8, generator=draw) * 0.05
    save_file(tensors, path)
    return AdapterUse(f"model_{seed}", hashlib.sha256(path.read_bytes()).hexdigest(), path, 1.0)
