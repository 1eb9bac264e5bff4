"""LoRA files that name the UNet's blocks as the first release of the model did, by diffusers' own conversion."""

from __future__ import annotations

import re
from typing import Any, Final

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

_FIRST_NAMES: Final = ("_input_blocks_", "_middle_block_", "_output_blocks_")
#: What the conversion leaves of a matrix's name in that of the module's alpha.
_LEFT_OVER: Final = re.compile(r"(?:_lora|\.lora|\.lora_linear_layer)\.down\.weight(?=\.alpha$)")


def rename_lora(pipeline: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names that the modules have now.

    Raises:
        Exception: of diffusers' many, if the names are not understood.
    """
    if not any(name in key for key in tensors for name in _FIRST_NAMES):
        return tensors
    renamed, alphas = StableDiffusionXLPipeline.lora_state_dict(dict(tensors), unet_config=pipeline.unet.config)
    scales = {_LEFT_OVER.sub("", key): torch.tensor(alpha) for key, alpha in (alphas or {}).items()}
    return {**renamed, **scales}
