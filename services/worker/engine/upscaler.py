"""Enlarges drawn pictures: a compact convolutional network in tiles, so that memory stays bounded, then Lanczos.

Source: SRVGGNetCompact of Real-ESRGAN (Wang et al. 2021, arXiv 2107.10833); files are safetensors with
its `body.*` keys.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from services.worker.engine.base import BaseModelBroken
from services.worker.engine.sizing import Size, crop_box, upscale_count

#: Side of a tile before enlarging, its halo not counted.
TILE_PX = 128


class CompactUpscaler(nn.Module):
    """Convolutions with PReLU between them, then pixel shuffle onto the picture enlarged by repetition.

    (batch, 3, height, width) float32 in 0..1 to (batch, 3, height * factor, width * factor).
    """

    def __init__(self, feature_count: int, hidden_count: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        #: How far a pixel's value reaches, in pixels: one for each 3x3 convolution.
        self.reach_px = hidden_count + 2
        layers: list[nn.Module] = [nn.Conv2d(3, feature_count, 3, 1, 1), nn.PReLU(feature_count)]
        for _ in range(hidden_count):
            layers += [nn.Conv2d(feature_count, feature_count, 3, 1, 1), nn.PReLU(feature_count)]
        layers.append(nn.Conv2d(feature_count, 3 * factor**2, 3, 1, 1))
        self.body = nn.ModuleList(layers)

    def forward(self, picture: Tensor) -> Tensor:
        """Enlarge once."""
        out = picture
        for layer in self.body:
            out = layer(out)
        enlarged = functional.interpolate(picture, scale_factor=self.factor, mode="nearest")
        return functional.pixel_shuffle(out, self.factor) + enlarged


def load_upscaler(path: Path, device: torch.device) -> CompactUpscaler:
    """Read an upscaler; its shape follows from its weights.

    Raises:
        BaseModelBroken: if the file is not one.
    """
    try:
        weights = load_file(path)
        last = max(int(key.split(".")[1]) for key in weights)
        factor = math.isqrt(weights[f"body.{last}.weight"].shape[0] // 3)
        model = CompactUpscaler(weights["body.0.weight"].shape[0], (last - 2) // 2, factor)
        model.load_state_dict(weights)
    except Exception as problem:
        raise BaseModelBroken(f"The upscaler '{path.name}' does not load: {problem}.") from problem
    return model.float().eval().requires_grad_(False).to(device)


def enlarge(upscaler: CompactUpscaler, picture: Tensor) -> Tensor:
    """Enlarge (1, 3, height, width) tile by tile; the halo makes it the same as in one piece."""
    factor, halo = upscaler.factor, upscaler.reach_px
    _, _, height, width = picture.shape
    out = picture.new_empty(1, 3, height * factor, width * factor)
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            bottom, right = min(height, top + TILE_PX), min(width, left + TILE_PX)
            y, x = max(0, top - halo), max(0, left - halo)
            tile = upscaler(picture[:, :, y : bottom + halo, x : right + halo])
            out[:, :, top * factor : bottom * factor, left * factor : right * factor] = tile[
                :,
                :,
                (top - y) * factor : (bottom - y) * factor,
                (left - x) * factor : (right - x) * factor,
            ]
    return out.clamp_(0, 1)


def to_asked_size(
    image: Image.Image, asked: Size, upscaler: CompactUpscaler | None, device: torch.device
) -> Image.Image:
    """Bring a drawn picture to the size asked: enlarge as often as needed, cut to its aspect, resize by Lanczos."""
    have = Size(*image.size)
    if have == asked:
        return image
    if upscaler is not None:
        picture = _to_tensor(image).to(device)
        for _ in range(upscale_count(have, asked, upscaler.factor)):
            picture = enlarge(upscaler, picture)
        image = _to_image(picture)
        have = Size(*image.size)
    if have == asked:
        return image
    return image.resize((asked.width_px, asked.height_px), Image.Resampling.LANCZOS, box=crop_box(have, asked))


def _to_tensor(image: Image.Image) -> Tensor:
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(image.height, image.width, 3).permute(2, 0, 1)[None].float() / 255


def _to_image(picture: Tensor) -> Image.Image:
    rows = (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().contiguous()
    return Image.fromarray(rows.numpy())
