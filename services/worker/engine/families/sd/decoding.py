"""Latents to a picture."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor


def decode(pipeline: Any, latents: Tensor, generator: torch.Generator) -> tuple[Image.Image, bool]:
    """Decode (1, channels, height, width) to an RGB picture; the flag says whether all its numbers were finite."""
    scaled = latents / pipeline.vae.config.scaling_factor
    picture = pipeline.vae.decode(scaled, return_dict=False, generator=generator)[0]
    is_finite = bool(torch.isfinite(picture).all())
    images = pipeline.image_processor.postprocess(picture.detach(), output_type="pil", do_denormalize=[True])
    return images[0].convert("RGB"), is_finite
