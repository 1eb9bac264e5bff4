"""The UNet for rows that differ in timestep and text, and classifier-free guidance for rows that differ in its scale.

Source: guidance is Ho and Salimans 2022 (arXiv 2207.12598), equation 6, in the stock pipeline's order of operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_guided(pipeline: Any, guidance: float) -> bool:
    """Whether there is an unconditional pass: not for guidance of 1 or less, nor for guidance-distilled UNets."""
    return guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None


def forward(pipeline: Any, rows: Tensor, timesteps: Tensor, text: Tensor, guidance: Tensor | None) -> Tensor:
    """The UNet's output for rows: (rows, channels, height, width).

    timesteps: (rows,) float32; text: (rows, tokens, width); guidance: (rows, width) for guidance-distilled UNets.
    """
    predicted: Tensor = pipeline.unet(
        rows, timesteps, encoder_hidden_states=text, timestep_cond=guidance, return_dict=False
    )[0]
    return predicted


def guide(unconditional: Tensor, conditional: Tensor, guidance: Tensor) -> Tensor:
    """Combine both passes; a run without an unconditional pass gives its conditional one twice."""
    return unconditional + guidance * (conditional - unconditional)


def embedded_guidance(pipeline: Any, guidance: float, dtype: torch.dtype) -> Tensor | None:
    """(1, width): the guidance scale as a guidance-distilled UNet takes it; None for others."""
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return None
    scale = torch.tensor(guidance - 1).repeat(1)
    embedding: Tensor = pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
    return embedding.to(device=pipeline.device, dtype=dtype)
