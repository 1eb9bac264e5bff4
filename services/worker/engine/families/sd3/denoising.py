"""The transformer for rows that differ in timestep, text and pooled text."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from services.worker.engine.families.port import Conditions


def forward(pipeline: Any, rows: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
    """The transformer's output for rows: (rows, channels, height, width)."""
    predicted: Tensor = pipeline.transformer(
        hidden_states=rows,
        timestep=timesteps,
        encoder_hidden_states=conditions["text"],
        pooled_projections=conditions["pooled"],
        return_dict=False,
    )[0]
    return predicted
