"""What the families of flow matching share: Stable Diffusion 3 and Flux."""

from __future__ import annotations

from typing import Any

from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from PIL import Image
from torch import Tensor

from services.worker.engine.families.pictures import to_images


def shift(config: Any, tokens: int, *, most_shift: float) -> dict[str, float]:
    """`mu`: how far the timesteps lean towards noise, where the schedule makes it depend on the picture's tokens."""
    if not config.get("use_dynamic_shifting"):
        return {}
    mu = calculate_shift(
        tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", most_shift),
    )
    return {"mu": float(mu)}


def first_step(steps: int, strength: float) -> int:
    """Which step is the first of a run from a picture: a part of a step is made whole."""
    return int(max(steps - min(steps * strength, steps), 0))


def scaled(vae: Any, sample: Tensor) -> Tensor:
    """The latents of a picture as the denoiser takes them; `decode` turns it back."""
    latents: Tensor = (sample - vae.config.shift_factor) * vae.config.scaling_factor
    return latents


def decode(vae: Any, latents: Tensor) -> list[Image.Image | None]:
    """Decode (batch, channels, height, width) to RGB pictures; None for each whose numbers are not all finite."""
    scaled = latents.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
    return to_images(vae.decode(scaled, return_dict=False)[0])
