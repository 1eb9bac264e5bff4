"""Guesses from a LoRA's keys and shapes which base models it was made for, for the sentence that refuses it. Pure.

Source: the widths are those of the published checkpoints' configurations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: (part, module in kohya's spelling, inputs of the module)
Seen = tuple[str, str, int]

_OF_TEXT_WIDTH: Final = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
_OF_TRANSFORMER_WIDTH: Final = {
    1536: "Stable Diffusion 3 Medium",
    2432: "Stable Diffusion 3.5 Large",
    3072: "FLUX.1",
}
_FLUX_BLOCKS: Final = ("single_transformer_blocks_", "single_blocks_", "double_blocks_")
#: The blocks of a UNet as the original checkpoints number them.
_ORIGINAL_BLOCKS: Final = ("input_blocks_", "output_blocks_", "middle_block_")


def family_of(seen: Sequence[Seen]) -> str:
    """The base models, such as "Stable Diffusion XL"; empty where nothing tells."""
    denoiser = [(module, inputs) for part, module, inputs in seen if part == "denoiser"]
    if any(block in module for module, _ in denoiser for block in _FLUX_BLOCKS):
        return "FLUX.1"
    if any("joint_blocks_" in module for module, _ in denoiser):
        return "Stable Diffusion 3"
    for module, inputs in denoiser:
        if module.startswith("transformer_blocks_") and module.endswith(("attn_to_q", "attn_to_k", "attn_to_v")):
            return _OF_TRANSFORMER_WIDTH.get(inputs, f"a diffusion transformer of width {inputs}")
    for module, inputs in denoiser:
        if module.endswith(("attn2_to_k", "attn2_to_v")):
            return _OF_TEXT_WIDTH.get(inputs, f"a model of Stable Diffusion's kind with a text width of {inputs}")
    return _family_of_rest(seen)


def uses_original_blocks(seen: Sequence[Seen]) -> bool:
    """Whether the modules are named as in the original checkpoints rather than as in diffusers."""
    return any(part == "denoiser" and module.startswith(_ORIGINAL_BLOCKS) for part, module, _ in seen)


def _family_of_rest(seen: Sequence[Seen]) -> str:
    parts = {part for part, _, _ in seen}
    if "text_encoder_3" in parts:
        return "Stable Diffusion 3"
    if "text_encoder_2" in parts:
        return "Stable Diffusion XL"
    widths = {inputs for part, module, inputs in seen if part == "text_encoder" and module.endswith("self_attn_q_proj")}
    return {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2"}.get(min(widths, default=0), "")
