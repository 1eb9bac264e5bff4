"""A base model on the device, made ready to draw many runs at once: its pipeline, LoRA layers, adapters and tables.

The UNet belongs to the step loop's thread, the text encoder to the text thread, the autoencoder and the upscaler to the
thread of pictures; no module is shared between two.
"""

from __future__ import annotations

import collections
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from services.worker.engine import schedulers
from services.worker.engine.adapters import Adapter, AdapterStore, activate
from services.worker.engine.attention import TextAttention
from services.worker.engine.base import (
    AdapterUse,
    BaseModelBroken,
    BaseModelFiles,
    DrawRequest,
    Progress,
    StopSignal,
)
from services.worker.engine.families.sd import denoising, latents, text_encoding
from services.worker.engine.knee import knee, profile
from services.worker.engine.lora_layers import LoraRows, RowLora, install
from services.worker.engine.run import Run
from services.worker.engine.sizing import Size, drawn_size
from services.worker.engine.upscaler import CompactUpscaler, load_upscaler

FAMILIES: Final = frozenset({"sd"})
_TEXTS_KEPT: Final = 1024
#: The fastest of these counts: what slows a step beyond it is the neighbours'.
_PROFILE_TRIES: Final = 4


class Model:
    """One base model."""

    def __init__(self, base: BaseModelFiles, device: torch.device, *, adapter_bytes: int) -> None:
        if base.family not in FAMILIES:
            raise BaseModelBroken(f"The family '{base.family}' of '{base.slug}' is not drawn by this worker.")
        self.base = base
        self.device = device
        self.pipeline = _load_pipeline(base, device)
        self.dtype: torch.dtype = self.pipeline.unet.dtype
        self.layers = install(self.pipeline.unet)
        self._text_layers = install(self.pipeline.text_encoder)
        self.text_attention = TextAttention(self.pipeline.unet)
        self.adapters = AdapterStore(
            self.pipeline.unet,
            self.pipeline.text_encoder,
            device=device,
            dtype=self.dtype,
            limit_bytes=adapter_bytes,
        )
        self.tables = schedulers.Tables(self.pipeline.scheduler.config)
        self.upscaler: CompactUpscaler | None = None
        if base.upscaler:
            self.upscaler = load_upscaler(base.directory / base.upscaler, device)
        self._texts: collections.OrderedDict[tuple[object, ...], Tensor] = collections.OrderedDict()
        self._bound: object = None
        self._lowered_caps: dict[tuple[int, int], int] = {}
        self.native_row_cap = 1

    def prepare(
        self,
        request: DrawRequest,
        adapters: Sequence[Adapter],
        stop: StopSignal,
        on_progress: Callable[[Progress], None],
    ) -> Run:
        """Make the run of a request: its text encoded, its noise drawn. On the text thread."""
        table = self.tables.of(request.scheduler, request.steps)
        scheduler = None
        if table is None:
            scheduler = schedulers.build(request.scheduler, self.pipeline.scheduler.config)
            schedulers.set_steps(scheduler, request.scheduler, request.steps)
        size = self.drawn_size(request)
        generator = latents.generator_of(request.seed)
        start_scale = table.start_scale if table is not None else float(scheduler.init_noise_sigma)  # type: ignore[union-attr]
        start = latents.start(self.pipeline, size, generator, self.dtype, start_scale)
        text = [self._text(request.positive_prompt, adapters, request.adapters)]
        if denoising.is_guided(self.pipeline, request.guidance):
            text.append(self._text(request.negative_prompt, adapters, request.adapters))
        return Run(
            stop=stop,
            on_progress=on_progress,
            generator=generator,
            latents=start,
            text=torch.cat(text),
            guidance=request.guidance,
            table=table,
            scheduler=scheduler,
            lora=activate("unet", adapters, request.adapters),
            guidance_embedding=denoising.embedded_guidance(self.pipeline, request.guidance, self.dtype),
        )

    def drawn_size(self, request: DrawRequest) -> Size:
        """The size that a request is drawn at."""
        asked = Size(request.width_px, request.height_px)
        return drawn_size(asked, native_px=self.base.native_px, upscales=self.base.upscales)

    def bind(self, owner: object, lora_rows: LoraRows, text_views: Sequence[tuple[Tensor, Tensor]] | None) -> None:
        """Let the UNet compute for this owner's rows. On the step loop's thread."""
        if owner is None or self._bound is not owner:
            lora_rows.bind()
            self.text_attention.bind(text_views)
            self._bound = owner

    def unbind(self) -> None:
        """Let go of what is bound, so that nothing of a finished batch stays in memory."""
        self.bind(None, LoraRows(self.layers, ()), None)

    def measure(self) -> None:
        """Find the most rows worth stepping at once at the native size. On the step loop's thread."""
        native = Size(self.base.native_px, self.base.native_px)
        shape = latents.shape(self.pipeline, native)[1:]
        text = text_encoding.encode(self.pipeline, "")
        self.unbind()
        self._step_s(1, shape, text)
        self.native_row_cap = knee(
            profile(lambda rows: min(self._step_s(rows, shape, text) for _ in range(_PROFILE_TRIES)))
        )

    def row_cap(self, height: int, width: int) -> int:
        """The most rows worth stepping at once at a latent size: the native size's measure by area."""
        known = self._lowered_caps.get((height, width))
        if known is not None:
            return known
        side = self.base.native_px // int(self.pipeline.vae_scale_factor)
        return max(1, min(_MOST_ROWS, self.native_row_cap * side**2 // (height * width)))

    def lower_row_cap(self, height: int, width: int, rows: int) -> None:
        """Remember that more rows than these do not fit into memory at a latent size."""
        self._lowered_caps[height, width] = rows

    def _step_s(self, rows: int, shape: tuple[int, ...], text: Tensor) -> float:
        noise = torch.zeros(rows, *shape, device=self.device, dtype=self.dtype)
        timesteps = torch.full((rows,), 500.0, device=self.device)
        embedding = denoising.embedded_guidance(self.pipeline, 1.0, self.dtype)
        if embedding is not None:
            embedding = embedding.expand(rows, -1)
        started_s = time.perf_counter()
        denoising.forward(self.pipeline, noise, timesteps, text.expand(rows, -1, -1), embedding)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started_s

    def _text(self, prompt: str, adapters: Sequence[Adapter], uses: Sequence[AdapterUse]) -> Tensor:
        pairs = [
            (adapter, use)
            for adapter, use in zip(adapters, uses, strict=True)
            if use.weight and "text_encoder" in adapter.parts
        ]
        key = (prompt, *((use.sha256, use.weight) for _, use in pairs))
        if key not in self._texts:
            lora = activate("text_encoder", [one for one, _ in pairs], [use for _, use in pairs])
            self._texts[key] = self._encoded(prompt, lora)
            if len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(key)
        return self._texts[key]

    def _encoded(self, prompt: str, lora: RowLora | None) -> Tensor:
        LoraRows(self._text_layers, [(0, [lora])] if lora is not None else []).bind()
        try:
            return text_encoding.encode(self.pipeline, prompt)
        finally:
            LoraRows(self._text_layers, ()).bind()


_MOST_ROWS: Final = 64


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
