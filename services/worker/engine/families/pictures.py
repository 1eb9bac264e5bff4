"""What an autoencoder gives, as pictures."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor


def to_images(decoded: Tensor) -> list[Image.Image | None]:
    """(batch, 3, height, width) from -1 to 1 as RGB pictures; None for each whose numbers are not all finite."""
    pictures = decoded.float()
    is_finite = torch.isfinite(pictures).flatten(1).all(dim=1).tolist()
    rows = ((pictures * 0.5 + 0.5).clamp_(0, 1) * 255).round_()
    pixels = rows.nan_to_num_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return [Image.fromarray(one) if fine else None for one, fine in zip(pixels, is_finite, strict=True)]
