"""Prompts to the text states that steer the UNet, as the stock pipeline makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.worker.engine.families.port import Asked, Conditions
from services.worker.engine.families.unet import embedded_guidance, is_guided


def encode(pipeline: Any, prompt: str) -> Conditions:
    """`text`: the states of one prompt, positive or negative alike, (1, tokens, width)."""
    states, _ = pipeline.encode_prompt(prompt, pipeline.device, 1, False)
    return {"text": states}


def rows(pipeline: Any, asked: Asked, encode: Callable[[str], Conditions]) -> tuple[Conditions, ...]:
    """The conditional row, and the unconditional one where there is guidance."""
    conditional = encode(asked.positive_prompt)
    guidance = embedded_guidance(pipeline, asked.guidance, conditional["text"].dtype)
    if not is_guided(pipeline, asked.guidance):
        return ({**conditional, **guidance},)
    return ({**conditional, **guidance}, {**encode(asked.negative_prompt), **guidance})
