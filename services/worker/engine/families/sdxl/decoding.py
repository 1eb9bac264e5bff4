"""Latents to pictures. The autoencoder may say that it overflows in half precision: then it is held in float32."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import Tensor

from services.worker.engine.families.pictures import to_images
from services.worker.engine.families.unet import by_channel


def decode(pipeline: Any, latents: Tensor) -> list[Image.Image | None]:
    """Decode (batch, channels, height, width) to RGB pictures; None for each whose numbers are not all finite."""
    config = pipeline.vae.config
    latents = latents.to(pipeline.vae.dtype)
    if config.latents_mean is not None and config.latents_std is not None:
        mean, std = (by_channel(numbers, latents) for numbers in (config.latents_mean, config.latents_std))
        scaled = latents * std / config.scaling_factor + mean
    else:
        scaled = latents / config.scaling_factor
    return to_images(pipeline.vae.decode(scaled, return_dict=False)[0])
