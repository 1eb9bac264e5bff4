"""The engine that draws many runs at once: every step carries all runs of a size, each with LoRAs and settings its own.

A run goes through three threads, so that the steps never wait: its text is encoded on the first, the step loop makes
its latents on the second, its picture is decoded and enlarged on the third. Files are read on others still.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from services.worker.engine import memory, sources
from services.worker.engine.adapter import Adapter
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.adapters import reports
from services.worker.engine.base import (
    AHEAD_COUNT,
    AdapterFigures,
    AdapterUse,
    BaseModelFiles,
    DrawRequest,
    DrawResult,
    DrawStopped,
    Progress,
    StopReason,
    StopSignal,
    UpscaleRequest,
)
from services.worker.engine.company import Company
from services.worker.engine.device_health import DeviceHealth
from services.worker.engine.device_thread import DeviceThread
from services.worker.engine.enlarging import enlarge
from services.worker.engine.failures import OutOfMemory, SourceUnsupported
from services.worker.engine.loading import dtype_of
from services.worker.engine.model import Model
from services.worker.engine.pictures import PictureDesk
from services.worker.engine.run import Run
from services.worker.engine.sizing import Size
from services.worker.engine.sketches import Sketcher
from services.worker.engine.step_loop import StepLoop
from services.worker.engine.stopping import unless_stopped
from services.worker.engine.too_large import Demand, TooLarge

log = logging.getLogger(__name__)


class BatchEngine:
    """Draws with one device."""

    def __init__(
        self,
        *,
        threads: int,
        device: str = "auto",
        adapter_bytes: int = 2 << 30,
        adapter_host_bytes: int = 8 << 30,
        compile_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`compile_options` are those of `compiling.MODES`; with None steps are not compiled."""
        self._device = torch.device(_default_device() if device == "auto" else device)
        self._adapter_memory = AdapterMemory(self._device, adapter_bytes, adapter_host_bytes)
        self._compile_options = compile_options
        self._models: dict[str, Model] = {}
        self._opening = False
        self._health = DeviceHealth()
        self._company = Company()
        self._too_large = TooLarge()
        self._texts = DeviceThread(lambda: _prepare(threads))
        self._steps = StepLoop(lambda: _prepare(threads), time.perf_counter, self._health)
        self._pictures = PictureDesk(lambda: _prepare(threads))
        self._sketcher = Sketcher(self._pictures.thread)

    @property
    def slots(self) -> int:
        """How many runs it draws at once: guided ones take two rows each."""
        rows = max((model.native_row_cap for model in self._models.values()), default=0)
        return max(1, rows // 2) + AHEAD_COUNT if rows else 1

    @property
    def device_name(self) -> str:
        """What draws."""
        return torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else self._device.type

    @property
    def dtype_name(self) -> str:
        """The numbers that it draws with."""
        return str(dtype_of(self._device)).removeprefix("torch.")

    @property
    def busy_s(self) -> float:
        """For how long the longest piece of work at hand has been done; a base model may take its time to load."""
        texts_s = 0.0 if self._opening else self._texts.busy_s
        return max(texts_s, self._steps.busy_s, self._pictures.thread.busy_s)

    @property
    def is_broken(self) -> bool:
        """Whether it can draw no more, ever."""
        parts = (self._texts, self._steps, self._pictures.thread)
        return bool(self._health.fault) or not all(part.is_alive for part in parts)

    @property
    def adapter_figures(self) -> AdapterFigures:
        """The memory of LoRAs as it stands."""
        return self._adapter_memory.figures

    @property
    def warm_sha256s(self) -> frozenset[str]:
        """Digests of the LoRA files in memory."""
        return frozenset().union(*(model.adapters.sha256s for model in self._models.values()))

    async def open(self, base: BaseModelFiles) -> None:
        """Load a base model and measure how many rows a step should carry."""
        if base.slug in self._models:
            return
        with self._health.guarding():
            self._opening = True
            try:
                model = await self._texts.run(lambda: Model(base, self._adapter_memory, self._compile_options))
            finally:
                self._opening = False
            await self._steps.call(functools.partial(model.measure, self._steps.give_way))
        self._models[base.slug] = model

    async def read_ahead(self, base_model_slug: str, adapter: AdapterUse) -> None:
        """Have a LoRA in memory that a run will hold soon."""
        await self._models[base_model_slug].adapters.read_ahead(adapter)

    async def draw(
        self, request: DrawRequest, *, stop: StopSignal, on_progress: Callable[[Progress], None]
    ) -> DrawResult:
        """Draw one picture."""
        model = self._models[request.base_model_slug]
        return await self._on_device(stop, _demand(request), lambda: self._draw(model, request, stop, on_progress))

    async def upscale(
        self, request: UpscaleRequest, *, stop: StopSignal, on_progress: Callable[[Progress], None]
    ) -> DrawResult:
        """Enlarge one picture."""
        model = self._models[request.base_model_slug]
        work = functools.partial(enlarge, self._pictures.thread, request, model.upscaler, self._device)
        give_back = self._adapter_memory.give_back
        area_px = request.width_px * request.height_px * request.scale**2
        demand = Demand(f"{request.base_model_slug} enlarged", area_px, 1)
        return await self._on_device(
            stop, demand, lambda: work(give_back=give_back, stop=stop, on_progress=on_progress)
        )

    async def close(self) -> None:
        """End the threads and drop the models."""
        await self._texts.close()
        await self._steps.close()
        await self._pictures.close()
        self._models.clear()

    async def _on_device(
        self, stop: StopSignal, demand: Demand, work: Callable[[], Awaitable[DrawResult]]
    ) -> DrawResult:
        try:
            with self._health.guarding():
                drawn = await self._among_others(stop, demand, work)
        except asyncio.CancelledError:
            # Whoever waited is gone; the run leaves at its next step.
            stop.set(StopReason.LOST)
            raise
        self._too_large.forget(demand)
        return drawn

    async def _among_others(
        self, stop: StopSignal, demand: Demand, work: Callable[[], Awaitable[DrawResult]]
    ) -> DrawResult:
        """Do the work beside others; where memory did not hold them together, once more with nobody else there."""
        async with contextlib.AsyncExitStack() as stack:
            stay = await unless_stopped(stop, stack.enter_async_context(self._company.together()))
            try:
                return await work()
            except OutOfMemory as problem:
                if not stay.had_company:
                    self._too_large.note(demand)
                if problem.is_even_alone or self._too_large.holds(demand):
                    raise
        log.warning("a run did not fit beside others; it is tried alone")
        async with contextlib.AsyncExitStack() as stack:
            await unless_stopped(stop, stack.enter_async_context(self._company.alone()))
            await asyncio.to_thread(self._adapter_memory.give_back)
            try:
                return await work()
            except OutOfMemory:
                self._too_large.note(demand)
                raise

    async def _draw(
        self, model: Model, request: DrawRequest, stop: StopSignal, on_progress: Callable[[Progress], None]
    ) -> DrawResult:
        _check_stop(stop)
        asked = Size(request.width_px, request.height_px)
        if request.source is not None and model.first_step(request.source, request.steps) >= request.steps:
            image = await asyncio.to_thread(sources.untouched, request.source, asked)
            return DrawResult(image.width, image.height, image.tobytes())
        if request.source is not None and request.source.mask is not None and not model.family.takes_masks:
            raise SourceUnsupported(f"The base model '{model.base.slug}' draws from a picture, but knows no mask.")
        source = await self._pictures.encode(model, request)
        started_s = time.perf_counter()
        async with contextlib.AsyncExitStack() as stack:
            holding = stack.enter_async_context(model.adapters.hold(request.adapters))
            adapters = await unless_stopped(stop, holding)
            load_s = time.perf_counter() - started_s
            run, text_s = await self._texts.run(lambda: _prepared(model, request, adapters, stop, on_progress, source))
            run.sketch = functools.partial(self._sketcher.make, model)
            latents = await self._steps.denoise(model, run)
            report = reports(adapters, request.adapters)
            denoise_s = run.device_s
            # What is referred to from here on would keep its slots.
            del run
        picture = await self._pictures.draw(model, latents, asked, stop)
        stage_s = {
            "load": load_s,
            "text": text_s,
            "denoise": denoise_s,
            "decode": picture.decode_s,
            "upscale": picture.upscale_s,
        }
        return DrawResult(picture.image.width, picture.image.height, picture.image.tobytes(), report, stage_s)


@torch.inference_mode()
def _prepared(
    model: Model,
    request: DrawRequest,
    adapters: Sequence[Adapter],
    stop: StopSignal,
    on_progress: Callable[[Progress], None],
    source: sources.Encoded | None,
) -> tuple[Run, float]:
    """The run of a request and the seconds that it took to make; where memory runs out, tried once more."""
    _check_stop(stop)
    started_s = time.perf_counter()
    for _ in range(2):
        try:
            run = model.prepare(request, adapters, stop, on_progress, source)
            return run, time.perf_counter() - started_s
        except Exception as problem:
            if not memory.is_out_of_memory(problem):
                raise
        model.adapters.memory.give_back()
    raise OutOfMemory


def _demand(request: DrawRequest) -> Demand:
    files_bytes = 0
    for path in {use.path for use in request.adapters if use.weight}:
        with contextlib.suppress(OSError):  # a file that is gone is told when it is read
            files_bytes += path.stat().st_size
    rows = 2 if request.guidance > 1 else 1
    return Demand(request.base_model_slug, request.width_px * request.height_px, rows, files_bytes)


def _check_stop(stop: StopSignal) -> None:
    if stop.reason is not None:
        raise DrawStopped


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
