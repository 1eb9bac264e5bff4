"""The transformer for rows that differ in timestep, text, pooled text and guidance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from services.worker.engine.families.port import Conditions


def forward(pipeline: Any, rows: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
    """The transformer's output for rows: (rows, channels, height, width)."""
    _, channels, height, width = rows.shape
    text = conditions["text"]
    predicted: Tensor = pipeline.transformer(
        hidden_states=_packed(rows),
        timestep=timesteps.to(rows.dtype) / 1000,
        guidance=conditions.get("guidance"),
        pooled_projections=conditions["pooled"],
        encoder_hidden_states=text,
        txt_ids=text.new_zeros(text.shape[1], 3),
        img_ids=_places(height // 2, width // 2).to(rows),
        return_dict=False,
    )[0]
    return _unpacked(predicted, channels, height, width)


def _packed(rows: Tensor) -> Tensor:
    """(rows, channels, height, width) to (rows, tokens, numbers): a token is a square of four."""
    count, channels, height, width = rows.shape
    squares = rows.view(count, channels, height // 2, 2, width // 2, 2)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * 4)


def _places(height: int, width: int) -> Tensor:
    """(tokens, 3): zero, then the row and the column of each token."""
    return torch.cartesian_prod(torch.zeros(1), torch.arange(float(height)), torch.arange(float(width)))


def _unpacked(tokens: Tensor, channels: int, height: int, width: int) -> Tensor:
    """(rows, tokens, numbers) to (rows, channels, height, width)."""
    squares = tokens.view(tokens.shape[0], height // 2, width // 2, channels, 2, 2)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(tokens.shape[0], channels, height, width)
