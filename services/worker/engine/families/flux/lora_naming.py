"""LoRA files by the namings of Flux's trainers, by diffusers' own conversion: it also splits joint projections."""

from __future__ import annotations

from typing import Any

from diffusers import FluxPipeline
from torch import Tensor


def rename_lora(_pipeline: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names that the modules have.

    Raises:
        Exception: of diffusers' many, if the names are not understood.
    """
    renamed, alphas = FluxPipeline.lora_state_dict(dict(tensors), return_alphas=True)
    return {**renamed, **(alphas or {})}
