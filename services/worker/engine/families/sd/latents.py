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


def start(pipeline: Any, scheduler: Any, size: Size, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Noise for the first step: (1, channels, height_px / factor, width_px / factor) on the device, scaled as asked."""
    factor = pipeline.vae_scale_factor
    shape = (1, pipeline.unet.config.in_channels, size.height_px // factor, size.width_px // factor)
    noise = randn_tensor(shape, generator=generator, device=pipeline.device, dtype=dtype)
    scaled: Tensor = noise * scheduler.init_noise_sigma
    return scaled
