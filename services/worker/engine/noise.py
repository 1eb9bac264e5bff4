"""The noise that a picture starts from."""

from __future__ import annotations

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


def generator_of(seed: int) -> torch.Generator:
    """A run's own generator, always on the CPU, so that a seed draws the same noise on any device."""
    return torch.Generator("cpu").manual_seed(seed)


def start(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device, dtype: torch.dtype, scale: float
) -> Tensor:
    """Noise for the first step on the device, multiplied by what the scheduler starts from."""
    noise: Tensor = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
    return noise * scale
