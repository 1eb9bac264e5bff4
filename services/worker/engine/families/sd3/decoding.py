"""Latents to pictures."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import Tensor

from services.worker.engine.families import flow


def decode(pipeline: Any, latents: Tensor) -> list[Image.Image | None]:
    """Decode (batch, channels, height, width) to RGB pictures; None for each whose numbers are not all finite."""
    return flow.decode(pipeline.vae, latents)
