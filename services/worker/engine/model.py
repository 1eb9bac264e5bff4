"""A base model on the device, made ready to draw many runs at once: its pipeline, LoRA layers, adapters and tables.

The denoiser belongs to the step loop's thread, the text encoders to the text thread, autoencoder and upscaler to the
thread of pictures; no module is shared between two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from services.worker.engine import hand_back, memory, noise, schedulers, sources
from services.worker.engine.adapter import Adapter
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.adapters import AdapterStore, activate
from services.worker.engine.attention import TextAttention
from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawRequest, Progress, SourceImage, StopSignal
from services.worker.engine.compiling import Compiled, row_bucket
from services.worker.engine.device_clock import clock_of
from services.worker.engine.device_memory import read_device_memory
from services.worker.engine.failures import BaseModelBroken
from services.worker.engine.families import FAMILIES
from services.worker.engine.families.port import Asked, Conditions
from services.worker.engine.fusing import FusedWeights, Fusing
from services.worker.engine.knee import RowCap, knee, profile
from services.worker.engine.loading import load_pipeline
from services.worker.engine.lora_layers import BoundRows, LoraRows, RowLora, install
from services.worker.engine.own_scheduler import OwnScheduler
from services.worker.engine.residency import Residency
from services.worker.engine.run import Run
from services.worker.engine.sizing import Size, drawn_size
from services.worker.engine.upscaler import Upscaler, load_upscaler

#: A text of one family takes two hundred kilobytes, of another four megabytes.
_TEXTS_BYTES: Final = 256 << 20
#: The fastest of these counts: what slows a step beyond it is the neighbours'.
_PROFILE_TRIES: Final = 4


class Model:
    """One base model."""

    def __init__(
        self, base: BaseModelFiles, adapter_memory: AdapterMemory, compile_options: Mapping[str, Any] | None = None
    ) -> None:
        """`compile_options` are what `torch.compile` is told; with None steps are not compiled."""
        if base.family not in FAMILIES:
            raise BaseModelBroken(f"The family '{base.family}' of '{base.slug}' is not drawn by this worker.")
        self.base = base
        self.family = FAMILIES[base.family]
        self.device = device = adapter_memory.device
        self.clock = clock_of(device)
        self.pipeline = load_pipeline(base, self.family, device)
        self.denoiser = self.family.denoiser_of(self.pipeline)
        self.dtype: torch.dtype = self.denoiser.dtype
        self.layers = install(self.denoiser)
        encoders = self.family.text_encoders_of(self.pipeline)
        self._text_layers = {name: install(encoder) for name, encoder in encoders.items()}
        self.text_attention = TextAttention(self.denoiser)
        self._compiled = Compiled(self.denoiser, self.layers, compile_options) if compile_options is not None else None
        # Layers that change which tensor they compute with would be compiled anew.
        self.fusing = Fusing(FusedWeights(self.layers), self.clock, _spare_bytes, is_possible=self._compiled is None)
        self.adapters = AdapterStore(
            {self.family.denoiser: self.denoiser, **encoders},
            memory=adapter_memory,
            dtype=self.dtype,
            base_model_slug=base.slug,
            rename=lambda tensors: self.family.rename_lora(self.pipeline, tensors),
        )
        self.tables = schedulers.Tables(self.pipeline.scheduler.config, self.family.schedulers)
        self.upscaler: Upscaler | None = None
        if base.upscaler:
            self.upscaler = load_upscaler(base.directory / base.upscaler, device)
        self._texts: Residency[Conditions] = Residency(_TEXTS_BYTES)
        self._bound: object = None
        self._row_caps: dict[tuple[int, int], RowCap] = {}
        self.native_row_cap = 1

    def prepare(
        self,
        request: DrawRequest,
        adapters: Sequence[Adapter],
        stop: StopSignal,
        on_progress: Callable[[Progress], None],
        source: sources.Encoded | None = None,
    ) -> Run:
        """Make the run of a request: its text encoded, its noise drawn. On the text thread."""
        size = self.drawn_size(request)
        schedule = self.family.latents.schedule(self.pipeline, size, request.steps)
        begin = None if request.source is None else self.first_step(request.source, request.steps)
        table = self.tables.of(request.scheduler, request.steps, schedule, begin)
        scheduler = OwnScheduler(
            lambda: self.tables.build(request.scheduler, request.steps, schedule, begin),
            begin or 0,
            is_sole=table is None,
        )
        generator = noise.generator_of(request.seed)
        shape = self.family.latents.shape(self.pipeline, size)
        kept = None
        if source is None or request.source is None:
            start_scale = table.start_scale if table is not None else scheduler.start_scale
            latents = noise.start(shape, generator, self.device, self.dtype, start_scale)
        else:
            like = (shape, self.device, self.dtype)
            latents, kept = sources.start(source, request.source, scheduler, generator, like)
        asked = Asked(request.positive_prompt, request.negative_prompt, request.guidance, size)
        rows = self.family.text_encoding.rows(
            self.pipeline, asked, lambda prompt: self._text(prompt, adapters, request.adapters)
        )
        run = Run(
            stop=stop,
            on_progress=on_progress,
            generator=generator,
            latents=latents,
            conditions={name: torch.cat([row[name] for row in rows]) for name in rows[0]},
            guidance=request.guidance,
            table=table,
            scheduler=scheduler,
            organization_id=request.organization_id,
            deadline_s=request.deadline_s,
            kept=kept,
            lora=activate(self.family.denoiser, adapters, request.adapters),
        )
        if request.resume is not None:
            hand_back.restore(run, request.resume)
        return run

    def encode(self, source: SourceImage, size: Size) -> sources.Encoded:
        """A picture that a run starts from, on the device. On the thread of pictures."""
        vae = self.pipeline.vae
        pixels = sources.pixels(source, size).to(device=self.device, dtype=vae.dtype)
        mask = sources.mask(source, size, self.family.latents.shape(self.pipeline, size))
        distribution = sources.distribution_of(vae.encode(pixels))
        return sources.Encoded(distribution, lambda sample: self.family.latents.scaled(vae, sample), mask)

    def first_step(self, source: SourceImage, steps: int) -> int:
        """Which of the steps is the first that is made of a run from a picture; `steps` where none is."""
        return self.family.latents.first_step(steps, source.strength)

    def drawn_size(self, request: DrawRequest) -> Size:
        """The size that a request is drawn at."""
        asked = Size(request.width_px, request.height_px)
        return drawn_size(
            asked, native_px=self.base.native_px, upscales=self.base.upscales, grid_px=self.family.grid_px
        )

    def bind(
        self,
        owner: object,
        lora_rows: BoundRows,
        text_views: Sequence[tuple[Tensor, Tensor]] | None,
        sole_lora: RowLora | None = None,
    ) -> None:
        """Let the denoiser compute for this owner's rows; `sole_lora` is what all of them carry, if anything is.

        On the step loop's thread.
        """
        is_fused = self.fusing.serves(sole_lora)
        if owner is None or self._bound != (owner, is_fused):
            (LoraRows(self.layers, ()) if is_fused else lora_rows).bind()
            self.fusing.point(is_fused)
            self.text_attention.bind(text_views)
            self._bound = (owner, is_fused)
        if self._compiled is not None:
            self._compiled.begin_step()

    def padded(self, rows: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        """The rows that a step carries: to a bucket's end the first one again, where steps are compiled."""
        if self._compiled is None:
            return rows
        return (*rows, *[rows[0]] * (row_bucket(len(rows)) - len(rows)))

    def lora_rows(self, groups: Sequence[tuple[int, Sequence[RowLora]]], rows: int) -> BoundRows:
        """The LoRAs of the rows that a step carries."""
        return LoraRows(self.layers, groups) if self._compiled is None else self._compiled.lora_rows(groups, rows)

    def unbind(self) -> None:
        """Let go of what is bound, so that nothing of a finished batch stays in memory."""
        self.bind(None, LoraRows(self.layers, ()), None)

    def yield_memory(self) -> None:
        """Give back what no run uses, since memory ran out: what is bound, fused or compiled for, and idle LoRAs."""
        self.unbind()
        self.fusing.yield_memory()
        if self._compiled is not None:
            self._compiled.drop()
        self.adapters.memory.give_back()

    def measure(self, on_rung: Callable[[], None] = lambda: None) -> None:
        """Find the most rows worth stepping at once at the native size. On the step loop's thread.

        `on_rung` is called before each number of rows, which may be compiled for a minute.
        """
        native = Size(self.base.native_px, self.base.native_px)
        shape = self.family.latents.shape(self.pipeline, native)[1:]
        encoding = self.family.text_encoding
        row = encoding.rows(
            self.pipeline, Asked("", "", 1.0, native), lambda text: encoding.encode(self.pipeline, text)
        )[0]
        self.unbind()
        text = self.text_attention.project(row["text"])
        self._step_s(1, shape, row, text)

        def step_s(rows: int) -> float:
            on_rung()
            return self._best_step_s(rows, shape, row, text)

        self.native_row_cap = knee(profile(step_s))
        self.unbind()

    def row_cap(self, height: int, width: int) -> RowCap:
        """The most rows worth stepping at once at a latent size: the native size's measure by area, then its own."""
        if (height, width) not in self._row_caps:
            side = self.base.native_px // int(self.pipeline.vae_scale_factor)
            self._row_caps[height, width] = RowCap(self.native_row_cap * side**2 // (height * width))
        return self._row_caps[height, width]

    def _best_step_s(self, rows: int, shape: tuple[int, ...], row: Conditions, text: Tensor) -> float:
        """Seconds of a step with so many rows; infinite where they do not fit."""
        try:
            return min(self._step_s(rows, shape, row, text) for _ in range(_PROFILE_TRIES))
        except Exception as problem:
            if not memory.is_out_of_memory(problem):
                raise
        self.adapters.memory.give_back()
        return math.inf

    def _step_s(self, rows: int, shape: tuple[int, ...], row: Conditions, text: Tensor) -> float:
        """How long a step takes; what is compiled for it is what runs are stepped by."""
        latents = torch.zeros(rows, *shape, device=self.device, dtype=self.dtype)
        timesteps = torch.full((rows,), 500.0, device=self.device)
        conditions = {name: torch.cat([one] * rows) for name, one in row.items()}
        self.text_attention.bind(self.text_attention.views(torch.cat([text] * rows), row["text"].shape[1]))
        seconds = self.clock.start()
        self.family.denoising.forward(self.pipeline, latents, timesteps, conditions)
        return seconds()

    def _text(self, prompt: str, adapters: Sequence[Adapter], uses: Sequence[AdapterUse]) -> Conditions:
        pairs = [
            (adapter, use)
            for adapter, use in zip(adapters, uses, strict=True)
            if use.weight and not self._text_layers.keys().isdisjoint(adapter.parts)
        ]
        key = repr((prompt, *((use.sha256, use.weight) for _, use in pairs)))
        conditions = self._texts.get(key)
        if conditions is None:
            conditions = self._encoded(prompt, [one for one, _ in pairs], [use for _, use in pairs])
            self._texts.put(key, conditions, sum(tensor.nbytes for tensor in conditions.values()))
        return conditions

    def _encoded(self, prompt: str, adapters: Sequence[Adapter], uses: Sequence[AdapterUse]) -> Conditions:
        for name, layers in self._text_layers.items():
            lora = activate(name, adapters, uses)
            LoraRows(layers, [(0, [lora])] if lora is not None else []).bind()
        try:
            return self.family.text_encoding.encode(self.pipeline, prompt)
        finally:
            for layers in self._text_layers.values():
                LoraRows(layers, ()).bind()


def _spare_bytes() -> int:
    device = read_device_memory()
    return device.total_bytes - device.allocated_bytes
