"""What the families with a UNet share: Stable Diffusion 1 and 2, and XL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from services.worker.engine.families.port import Conditions
from services.worker.engine.sizing import Size


def latents_shape(pipeline: Any, size: Size) -> tuple[int, int, int, int]:
    """(1, channels, height_px / factor, width_px / factor)."""
    factor = pipeline.vae_scale_factor
    return (1, pipeline.unet.config.in_channels, size.height_px // factor, size.width_px // factor)


def first_step(steps: int, strength: float) -> int:
    """Which step is the first of a run from a picture: a part of a step is not made."""
    return max(steps - min(int(steps * strength), steps), 0)


def is_guided(pipeline: Any, guidance: float) -> bool:
    """Whether there is an unconditional pass: not for guidance of 1 or less, nor for guidance-distilled UNets."""
    return guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None


def embedded_guidance(pipeline: Any, guidance: float, dtype: torch.dtype) -> Conditions:
    """The guidance scale as a guidance-distilled UNet takes it: (1, width); nothing for others."""
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return {}
    scale = torch.tensor(guidance - 1).repeat(1)
    embedding: Tensor = pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
    return {"guidance": embedding.to(device=pipeline.device, dtype=dtype)}


def by_channel(numbers: list[float], like: Tensor) -> Tensor:
    """Numbers of channels as (1, channels, 1, 1)."""
    return torch.tensor(numbers, device=like.device, dtype=like.dtype).view(1, -1, 1, 1)
