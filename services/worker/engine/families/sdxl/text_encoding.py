"""Prompts to what steers the UNet, as the stock pipeline makes it: text states, pooled text and sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from services.worker.engine.families.port import Asked, Conditions
from services.worker.engine.families.unet import embedded_guidance, is_guided
from services.worker.engine.sizing import Size


def encode(pipeline: Any, prompt: str) -> Conditions:
    """`text`: both encoders' states side by side, (1, tokens, width); `pooled`: the second's, (1, width)."""
    states, _, pooled, _ = pipeline.encode_prompt(
        prompt, device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    return {"text": states, "pooled": pooled}


def rows(pipeline: Any, asked: Asked, encode: Callable[[str], Conditions]) -> tuple[Conditions, ...]:
    """The conditional row, and the unconditional one where there is guidance."""
    conditional = encode(asked.positive_prompt)
    dtype = conditional["text"].dtype
    common = {
        "time_ids": _time_ids(pipeline, asked.size, dtype),
        **embedded_guidance(pipeline, asked.guidance, dtype),
    }
    if not is_guided(pipeline, asked.guidance):
        return ({**conditional, **common},)
    if not asked.negative_prompt and pipeline.config.force_zeros_for_empty_prompt:
        # No negative prompt is zeros to these models, not the encoded empty text.
        unconditional: Conditions = {name: torch.zeros_like(one) for name, one in conditional.items()}
    else:
        unconditional = encode(asked.negative_prompt)
    return ({**conditional, **common}, {**unconditional, **common})


def _time_ids(pipeline: Any, size: Size, dtype: torch.dtype) -> Tensor:
    """(1, 6): the picture was never larger, is not cropped, and has this size."""
    sides = (size.height_px, size.width_px)
    return torch.tensor([[*sides, 0, 0, *sides]], device=pipeline.device, dtype=dtype)
