"""The UNet for rows that differ in timestep, text, pooled text and sizes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from services.worker.engine.families.port import Conditions


def forward(pipeline: Any, rows: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
    """The UNet's output for rows: (rows, channels, height, width)."""
    predicted: Tensor = pipeline.unet(
        rows,
        timesteps,
        encoder_hidden_states=conditions["text"],
        timestep_cond=conditions.get("guidance"),
        added_cond_kwargs={"text_embeds": conditions["pooled"], "time_ids": conditions["time_ids"]},
        return_dict=False,
    )[0]
    return predicted
