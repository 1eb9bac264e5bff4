"""The noise that a picture starts from."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from services.worker.engine.sizing import Size


def generator_of(seed: int) -> torch.Generator:
    """A run's own generator, always on the CPU, so that a seed draws the same noise on any device."""
    return torch.Generator("cpu").manual_seed(seed)


def shape(pipeline: Any, size: Size) -> tuple[int, int, int, int]:
    """The latents' shape at a size: (1, channels, height_px / factor, width_px / factor)."""
    factor = pipeline.vae_scale_factor
    return (1, pipeline.unet.config.in_channels, size.height_px // factor, size.width_px // factor)


def start(pipeline: Any, size: Size, generator: torch.Generator, dtype: torch.dtype, scale: float) -> Tensor:
    """Noise for the first step on the device, multiplied by what the scheduler starts from."""
    noise: Tensor = randn_tensor(shape(pipeline, size), generator=generator, device=pipeline.device, dtype=dtype)
    return noise * scale
