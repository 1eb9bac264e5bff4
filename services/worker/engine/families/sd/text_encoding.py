"""Prompts to the text states that steer the UNet, as the stock pipeline makes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode(pipeline: Any, positive: str, negative: str, *, guided: bool) -> Tensor:
    """Text states: (rows, tokens, width) on the device; rows are [negative, positive] where guided, else [positive]."""
    positive_states, negative_states = pipeline.encode_prompt(
        positive, pipeline.device, 1, guided, negative_prompt=negative
    )
    return torch.cat([negative_states, positive_states]) if guided else positive_states
