"""The form of what is denoised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.worker.engine.families.unet import latents_shape
from services.worker.engine.sizing import Size


def shape(pipeline: Any, size: Size) -> tuple[int, int, int, int]:
    """The latents' shape at a size: (1, channels, height, width)."""
    return latents_shape(pipeline, size)


def schedule(pipeline: Any, size: Size, steps: int) -> Mapping[str, Any]:  # noqa: ARG001 - the port's signature
    """Nothing: the timesteps are the same at every size."""
    return {}
