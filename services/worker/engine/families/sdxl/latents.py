"""The form of what is denoised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from services.worker.engine.families import unet
from services.worker.engine.sizing import Size


def shape(pipeline: Any, size: Size) -> tuple[int, int, int, int]:
    """The latents' shape at a size: (1, channels, height, width)."""
    return unet.latents_shape(pipeline, size)


def schedule(pipeline: Any, size: Size, steps: int) -> Mapping[str, Any]:  # noqa: ARG001 - the port's signature
    """Nothing: the timesteps are the same at every size."""
    return {}


def first_step(steps: int, strength: float) -> int:
    """Which step is the first of a run from a picture."""
    return unet.first_step(steps, strength)


def scaled(vae: Any, sample: Tensor) -> Tensor:
    """The latents of a picture as the denoiser takes them; some autoencoders tell their mean and deviation."""
    config = vae.config
    latents: Tensor
    if config.latents_mean is None or config.latents_std is None:
        latents = config.scaling_factor * sample
    else:
        mean, deviation = (unet.by_channel(numbers, sample) for numbers in (config.latents_mean, config.latents_std))
        latents = (sample - mean) * config.scaling_factor / deviation
    return latents
