"""The form of what is denoised: unpacked here; the denoiser packs squares of four into one token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from torch import Tensor

from services.worker.engine.families import flow
from services.worker.engine.sizing import Size

_MOST_SHIFT: Final = 1.15


def shape(pipeline: Any, size: Size) -> tuple[int, int, int, int]:
    """The latents' shape at a size: (1, channels, height, width)."""
    factor = pipeline.vae_scale_factor
    return (1, pipeline.transformer.config.in_channels // 4, size.height_px // factor, size.width_px // factor)


def schedule(pipeline: Any, size: Size, steps: int) -> Mapping[str, Any]:
    """Evenly spaced noise levels before the shift, and the shift by the picture's tokens where there is one."""
    config = pipeline.scheduler.config
    _, _, height, width = shape(pipeline, size)
    mu = flow.shift(config, (height // 2) * (width // 2), most_shift=_MOST_SHIFT)
    if config.get("use_flow_sigmas"):
        return mu
    return {"sigmas": tuple(np.linspace(1.0, 1 / steps, steps).tolist()), **mu}


def first_step(steps: int, strength: float) -> int:
    """Which step is the first of a run from a picture."""
    return flow.first_step(steps, strength)


def scaled(vae: Any, sample: Tensor) -> Tensor:
    """The latents of a picture as the denoiser takes them."""
    return flow.scaled(vae, sample)
