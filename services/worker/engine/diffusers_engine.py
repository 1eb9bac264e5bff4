"""The engine that draws one run at a time with diffusers' modules and peft's LoRA layers, equal to the stock pipeline.

The event loop side (`open`, `draw`, `close`) only hands work to the device's thread; `_Bench` is what lives there.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from services.worker.engine import schedulers
from services.worker.engine.adapters import Adapters
from services.worker.engine.base import (
    BaseModelBroken,
    BaseModelFiles,
    DrawFailed,
    DrawRequest,
    DrawResult,
    DrawStopped,
    NotFinite,
    OutOfMemory,
    Progress,
    StopReason,
    StopSignal,
)
from services.worker.engine.device_thread import DeviceThread
from services.worker.engine.families.sd import decoding, denoising, latents, text_encoding
from services.worker.engine.sizing import Size, drawn_size
from services.worker.engine.upscaler import CompactUpscaler, load_upscaler, to_asked_size

log = logging.getLogger(__name__)

FAMILIES: Final = frozenset({"sd"})


class DiffusersEngine:
    """Draws with one device and one thread."""

    slots = 1

    def __init__(self, *, threads: int, device: str = "auto") -> None:
        self._device = torch.device(_default_device() if device == "auto" else device)
        self._models: dict[str, _Bench] = {}
        self._thread = DeviceThread(lambda: _prepare(threads))

    @property
    def warm_sha256s(self) -> frozenset[str]:
        """Digests of the LoRA files that are loaded."""
        return frozenset().union(*(model.adapters.sha256s for model in self._models.values()))

    async def open(self, base: BaseModelFiles) -> None:
        """Load a base model."""
        if base.slug not in self._models:
            self._models[base.slug] = await self._thread.run(lambda: _Bench(base, self._device))

    async def draw(
        self, request: DrawRequest, *, stop: StopSignal, on_progress: Callable[[Progress], None]
    ) -> DrawResult:
        """Draw one picture."""
        model = self._models[request.base_model_slug]
        try:
            return await self._thread.run(lambda: _draw_with_room(model, request, stop, on_progress))
        except asyncio.CancelledError:
            # Whoever waited is gone; the thread stops at its next step.
            stop.set(StopReason.LOST)
            raise

    async def close(self) -> None:
        """End the thread and drop the models."""
        await self._thread.close()
        self._models.clear()


class _Bench:
    """One base model on the device. Used on the device's thread alone."""

    def __init__(self, base: BaseModelFiles, device: torch.device) -> None:
        if base.family not in FAMILIES:
            raise BaseModelBroken(f"The family '{base.family}' of '{base.slug}' is not drawn by this worker.")
        self.base = base
        self.device = device
        self.pipeline = _load_pipeline(base, device)
        self.adapters = Adapters(self.pipeline)
        self.upscaler: CompactUpscaler | None = None
        if base.upscaler:
            self.upscaler = load_upscaler(base.directory / base.upscaler, device)

    def draw(self, request: DrawRequest, stop: StopSignal, on_progress: Callable[[Progress], None]) -> DrawResult:
        stages = _Stages()
        _check_stop(stop)
        asked = Size(request.width_px, request.height_px)
        size = drawn_size(asked, native_px=self.base.native_px, upscales=self.base.upscales)
        scheduler = schedulers.build(request.scheduler, self.pipeline.scheduler.config)
        generator = latents.generator_of(request.seed)
        guided = denoising.is_guided(self.pipeline, request.guidance)
        with stages.timed("load"):
            reports = self.adapters.activate(request.adapters)
        with stages.timed("text"):
            text = text_encoding.encode(self.pipeline, request.positive_prompt, request.negative_prompt, guided=guided)
        with stages.timed("denoise"):
            scheduler.set_timesteps(request.steps, device=self.device)
            noise = latents.start(self.pipeline, scheduler, size, generator, text.dtype)
            done = denoising.denoise(
                self.pipeline,
                scheduler,
                text,
                noise,
                guidance=request.guidance,
                generator=generator,
                after_step=_StepWatch(len(scheduler.timesteps), stop, on_progress),
            )
        if not bool(torch.isfinite(done).all()):
            raise NotFinite
        with stages.timed("decode"):
            image, is_finite = decoding.decode(self.pipeline, done, generator)
        if not is_finite:
            raise NotFinite
        with stages.timed("upscale"):
            image = to_asked_size(image, asked, self.upscaler, self.device)
        return DrawResult(image.width, image.height, image.tobytes(), reports, stages.seconds)


class _StepWatch:
    """Called after each step: tells progress and stops the run where it is asked to."""

    def __init__(self, steps: int, stop: StopSignal, on_progress: Callable[[Progress], None]) -> None:
        self._steps = steps
        self._stop = stop
        self._on_progress = on_progress
        self._started_s = time.perf_counter()

    def __call__(self, step: int) -> None:
        _check_stop(self._stop)
        step_s = (time.perf_counter() - self._started_s) / step
        self._on_progress(Progress(step, self._steps, step_s * (self._steps - step)))


class _Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started_s


def _draw_with_room(
    model: _Bench, request: DrawRequest, stop: StopSignal, on_progress: Callable[[Progress], None]
) -> DrawResult:
    """Draw; where memory runs out, unload every LoRA, collect, and try once more."""
    try:
        return _draw(model, request, stop, on_progress)
    except OutOfMemory:
        log.warning("out of memory; trying once more with all adapters unloaded")
        model.adapters.release()
    gc.collect()
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    return _draw(model, request, stop, on_progress)


@torch.no_grad()
def _draw(model: _Bench, request: DrawRequest, stop: StopSignal, on_progress: Callable[[Progress], None]) -> DrawResult:
    try:
        return model.draw(request, stop, on_progress)
    except (DrawFailed, DrawStopped):
        raise
    except Exception as problem:
        if _is_out_of_memory(problem):
            raise OutOfMemory from None
        raise


def _is_out_of_memory(problem: Exception) -> bool:
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU's allocator has no exception class of its own.
    text = str(problem)
    return isinstance(problem, RuntimeError) and ("allocate memory" in text or "Storage size calculation" in text)


def _check_stop(stop: StopSignal) -> None:
    if stop.reason is not None:
        raise DrawStopped


def _load_pipeline(base: BaseModelFiles, device: torch.device) -> Any:
    try:
        # Notes on outdated configurations are for those who publish a model, not for those who serve it.
        with warnings.catch_warnings(action="ignore"):
            return _prepared(_pipeline_of(base, device), device)
    except Exception as problem:
        raise BaseModelBroken(f"The base model '{base.slug}' does not load: {problem}.") from problem


def _pipeline_of(base: BaseModelFiles, device: torch.device) -> Any:
    return StableDiffusionPipeline.from_pretrained(
        base.directory,
        local_files_only=True,
        use_safetensors=True,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
    )


def _prepared(pipeline: Any, device: torch.device) -> Any:
    pipeline.to(device)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.eval().requires_grad_(False)
    return pipeline


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
