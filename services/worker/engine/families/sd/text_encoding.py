"""Prompts to the text states that steer the UNet, as the stock pipeline makes them."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def encode(pipeline: Any, prompt: str) -> Tensor:
    """Text states of one prompt, positive or negative alike: (1, tokens, width) on the device."""
    states, _ = pipeline.encode_prompt(prompt, pipeline.device, 1, False)
    text: Tensor = states
    return text
