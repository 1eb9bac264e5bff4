"""What is measured with: a base model of the real classes, sixteen LoRAs, mixed traffic, and both ways to draw it.

The base has a million random parameters: at 8x8 latents a step of 16 rows takes 4 times as long as one of a single row,
as small batches do on a GPU, where starting the kernels is what costs. Heads are 16 wide, as narrow as CPU kernels
take without loss. The starter model's 21 M parameters fill a CPU core from four rows on, so that it shows less of what
batching is for; the serving benchmark has it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.model import Model
from tests.support.stock import Stock
from tests.support.tiny_models import tiny_base

PAIRS = 5
LORAS = 16
REQUESTS = 24
SLUG = "bench"

#: Draws a request; may be given what to call after each step.
Draw = Callable[..., object]


class Place:
    """One base model in the stock pipeline and in the engine, with LoRA files for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = _base(folder / "base")
        self.files = [lora(self.base, folder / f"{number}.safetensors", number) for number in range(LORAS)]
        self.stock = Stock(self.base)
        self.pipeline = self.stock._pipeline
        self.engine = BatchEngine(threads=1, device="cpu")
        asyncio.run(self.engine.open(BaseModelFiles(SLUG, self.base, "sd", 64)))

    @property
    def model(self) -> Model:
        """The engine's model."""
        return self.engine._models[SLUG]

    def close(self) -> None:
        """End the engine's threads."""
        asyncio.run(self.engine.close())

    def together(self, requests: list[DrawRequest]) -> None:
        """Draw all at once by the engine."""

        async def all_at_once() -> None:
            await asyncio.gather(*(self.draw(one) for one in requests))

        asyncio.run(all_at_once())

    async def draw(self, request: DrawRequest, on_progress: Callable[[object], None] = lambda _: None) -> object:
        """Draw one by the engine."""
        return await self.engine.draw(request, stop=StopSignal(), on_progress=on_progress)

    @contextmanager
    def usual(self, files: list[AdapterUse]) -> Iterator[Draw]:
        """The documented way, with these LoRAs loaded."""
        self.stock.load(files)
        names = {use.sha256: f"a{index}" for index, use in enumerate(files)}

        def draw(request: DrawRequest, on_step: Callable[[int], None] = lambda _: None) -> object:
            use = request.adapters[0]
            self.pipeline.set_adapters(names[use.sha256], use.weight)
            return stock_image(self.pipeline, request, on_step)

        try:
            yield draw
        finally:
            self.pipeline.unload_lora_weights()

    def reload(self, request: DrawRequest) -> object:
        """Load the LoRA, draw, unload it."""
        use = request.adapters[0]
        self.pipeline.load_lora_weights(dict(load_file(use.path)), adapter_name="one")
        self.pipeline.set_adapters("one", use.weight)
        try:
            return stock_image(self.pipeline, request)
        finally:
            self.pipeline.unload_lora_weights()


def stock_image(pipeline: object, request: DrawRequest, on_step: Callable[[int], None] = lambda _: None) -> object:
    """A picture by the stock pipeline with what is active in it; `on_step` hears of each step that is made."""

    def heard(_pipeline: object, step: int, _timestep: object, tensors: dict[str, object]) -> dict[str, object]:
        on_step(step)
        return tensors

    return pipeline(  # type: ignore[operator]
        request.positive_prompt,
        negative_prompt=request.negative_prompt,
        guidance_scale=request.guidance,
        width=request.width_px,
        height=request.height_px,
        num_inference_steps=request.steps,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        callback_on_step_end=heard,
    ).images[0]


@contextmanager
def one_core() -> Iterator[None]:
    """Let the whole process run on one core: no variant may use two."""
    before = os.sched_getaffinity(0)
    _run_on({max(before)})
    try:
        yield
    finally:
        _run_on(before)


def _run_on(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def traffic(files: list[AdapterUse], side_px: int, count: int = REQUESTS, seed: int = 1) -> list[DrawRequest]:
    """Mixed traffic with Pareto popularity; every seed brings texts that nobody has encoded."""
    draw = random.Random(seed)  # noqa: S311 - it makes up requests
    made = []
    for number in range(count):
        use = files[min(len(files) - 1, int(draw.paretovariate(1.2)) - 1)]
        guidance, steps = draw.choice([1.0, 4.0, 7.5, 9.0]), draw.choice([10, 15, 20])
        made.append(request_of(use, draw.uniform(0.2, 1.2), guidance, steps, 1000 * seed + number, side_px))
    return made


def request_of(
    use: AdapterUse | None, weight: float, guidance: float, steps: int, seed: int, side_px: int
) -> DrawRequest:
    """One request; without a LoRA where there is none."""
    adapters = () if use is None else (AdapterUse(use.model_id, use.sha256, use.path, weight),)
    return DrawRequest(
        run_id=f"gen_{seed}",
        base_model_slug=SLUG,
        positive_prompt=f"a picture of thing {seed}",
        negative_prompt="",
        adapters=adapters,
        guidance=guidance,
        width_px=side_px,
        height_px=side_px,
        steps=steps,
        seed=seed,
        scheduler="ddim",
    )


def ratio(
    theirs: Callable[[list[DrawRequest]], object],
    ours: Callable[[list[DrawRequest]], object],
    make: Callable[[int], list[DrawRequest]],
) -> float:
    """How many times the seconds of ours theirs take: the median of pairs that take turns, the first left out.

    Both draw what `make` gives for the number of their pair.
    """
    pairs = []
    for pair in range(PAIRS + 1):
        requests = make(pair)
        pairs.append(timed(lambda: theirs(requests)) / timed(lambda: ours(requests)))  # noqa: B023 - called at once
    return statistics.median(pairs[1:])


def timed(work: Callable[[], object]) -> float:
    """The seconds that some work takes."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share of all does not pass."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def lora(
    base: Path, path: Path, seed: int, rank: int = 8, ends: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
) -> AdapterUse:
    """A LoRA on every layer whose name ends so: as a rule every attention projection."""
    draw = torch.Generator().manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    tensors = {}
    for name, module in unet.named_modules():
        if name.endswith(ends):
            tensors[f"unet.{name}.lora_A.weight"] = torch.randn(rank, module.in_features, generator=draw) * 0.05
            tensors[f"unet.{name}.lora_B.weight"] = torch.randn(module.out_features, rank, generator=draw) * 0.05
    save_file(tensors, path)
    return AdapterUse(f"model_{seed}", hashlib.sha256(path.read_bytes()).hexdigest(), path, 1.0)


def _base(directory: Path) -> Path:
    tiny_base(directory)
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=(2, 4),  # how many heads: diffusers' name for it is wrong
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
