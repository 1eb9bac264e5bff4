"""The steps from noise to latents with classifier-free guidance.

Source: guidance is Ho and Salimans 2022 (arXiv 2207.12598), equation 6; the order of the operations is the stock
pipeline's, so that the bits are the same too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def is_guided(pipeline: Any, guidance: float) -> bool:
    """Whether there is an unconditional pass: not for guidance of 1 or less, nor for guidance-distilled UNets."""
    return guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None


def denoise(
    pipeline: Any,
    scheduler: Any,
    text: Tensor,
    latents: Tensor,
    *,
    guidance: float,
    generator: torch.Generator,
    after_step: Callable[[int], None],
) -> Tensor:
    """Run all the scheduler's timesteps; `after_step(count)` may raise to stop. Returns latents of the same shape."""
    guided = is_guided(pipeline, guidance)
    extra = _extra_step_arguments(scheduler, generator)
    embedded_guidance = _embedded_guidance(pipeline, guidance, latents)
    for index, timestep in enumerate(scheduler.timesteps):
        rows = torch.cat([latents] * 2) if guided else latents
        rows = scheduler.scale_model_input(rows, timestep)
        noise = pipeline.unet(
            rows, timestep, encoder_hidden_states=text, timestep_cond=embedded_guidance, return_dict=False
        )[0]
        if guided:
            unconditional, conditional = noise.chunk(2)
            noise = unconditional + guidance * (conditional - unconditional)
        latents = scheduler.step(noise, timestep, latents, **extra, return_dict=False)[0]
        after_step(index + 1)
    return latents


def _extra_step_arguments(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    known = inspect.signature(scheduler.step).parameters
    offered = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in offered.items() if name in known}


def _embedded_guidance(pipeline: Any, guidance: float, latents: Tensor) -> Tensor | None:
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return None
    scale = torch.tensor(guidance - 1).repeat(1)
    embedding: Tensor = pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
    return embedding.to(device=latents.device, dtype=latents.dtype)
