"""Latents to pictures."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor


def decode(pipeline: Any, latents: Tensor) -> list[Image.Image | None]:
    """Decode (batch, channels, height, width) to RGB pictures; None for each whose numbers are not all finite."""
    scaled = latents / pipeline.vae.config.scaling_factor
    pictures = pipeline.vae.decode(scaled, return_dict=False)[0].float()
    is_finite = torch.isfinite(pictures).flatten(1).all(dim=1).tolist()
    rows = ((pictures * 0.5 + 0.5).clamp_(0, 1) * 255).round_()
    pixels = rows.nan_to_num_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return [Image.fromarray(one) if fine else None for one, fine in zip(pixels, is_finite, strict=True)]
