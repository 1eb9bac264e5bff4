"""The form of what is denoised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from services.worker.engine.families import flow
from services.worker.engine.sizing import Size

_MOST_SHIFT: Final = 1.16


def shape(pipeline: Any, size: Size) -> tuple[int, int, int, int]:
    """The latents' shape at a size: (1, channels, height, width)."""
    factor = pipeline.vae_scale_factor
    return (1, pipeline.transformer.config.in_channels, size.height_px // factor, size.width_px // factor)


def schedule(pipeline: Any, size: Size, steps: int) -> Mapping[str, Any]:  # noqa: ARG001 - the port's signature
    """The shift by the picture's tokens, where the schedule has one."""
    patch = pipeline.transformer.config.patch_size
    _, _, height, width = shape(pipeline, size)
    return flow.shift(pipeline.scheduler.config, (height // patch) * (width // patch), most_shift=_MOST_SHIFT)


def first_step(steps: int, strength: float) -> int:
    """Which step is the first of a run from a picture."""
    return flow.first_step(steps, strength)


def scaled(vae: Any, sample: Tensor) -> Tensor:
    """The latents of a picture as the denoiser takes them."""
    return flow.scaled(vae, sample)
