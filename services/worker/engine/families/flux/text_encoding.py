"""Prompts to what steers the transformer, as the stock pipeline makes it: text states, pooled text and guidance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from services.worker.engine.families.port import Asked, Conditions


def encode(pipeline: Any, prompt: str) -> Conditions:
    """`text`: T5's states, (1, tokens, width); `pooled`: CLIP's, (1, width)."""
    states, pooled, _ = pipeline.encode_prompt(prompt, None, device=pipeline.device)
    return {"text": states, "pooled": pooled}


def rows(pipeline: Any, asked: Asked, encode: Callable[[str], Conditions]) -> tuple[Conditions, ...]:
    """The conditional row, and the unconditional one where a negative prompt asks for it."""
    is_guided = bool(asked.negative_prompt) and asked.guidance > 1
    common = _embedded(pipeline, 1.0 if is_guided else asked.guidance)
    if not is_guided:
        return ({**encode(asked.positive_prompt), **common},)
    return ({**encode(asked.positive_prompt), **common}, {**encode(asked.negative_prompt), **common})


def _embedded(pipeline: Any, guidance: float) -> Conditions:
    """`guidance`, (1,): nothing for transformers that were distilled without it."""
    if not pipeline.transformer.config.guidance_embeds:
        return {}
    return {"guidance": torch.full((1,), guidance, device=pipeline.device, dtype=torch.float32)}
