"""Enlarges pictures: a compact convolutional network in tiles, so that memory stays bounded, then Lanczos.

A tile carries a halo as wide as the network reaches, so that tiles leave no seam. Where the network enlarges further
than asked, as a factor of 4 does for a scale of 2, the pixels are averaged in whole squares.

Source: SRVGGNetCompact of Real-ESRGAN (Wang et al. 2021, arXiv 2107.10833); files are safetensors with its `body.*`
keys, or the published `.pth` files, of which tensors alone are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from services.worker.engine.failures import BaseModelBroken
from services.worker.engine.foreign_upscaler import ForeignUpscaler, load_foreign
from services.worker.engine.sizing import Size, crop_box, upscale_count

#: Side of a tile before enlarging, its halo not counted.
TILE_PX = 128


_CONVOLUTION_DIMENSIONS = 4

Upscaler: TypeAlias = "CompactUpscaler | ForeignUpscaler"


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


def load_upscaler(path: Path, device: torch.device) -> Upscaler:
    """Read an upscaler; its shape follows from its weights, and other architectures are left to an extra.

    Raises:
        BaseModelBroken: if the file is not one.
    """
    try:
        weights = _weights(path)
        if "body.0.weight" not in weights or weights["body.0.weight"].ndim != _CONVOLUTION_DIMENSIONS:
            return load_foreign(path, device)
        last = max(int(key.split(".")[1]) for key in weights)
        factor = math.isqrt(weights[f"body.{last}.weight"].shape[0] // 3)
        model = CompactUpscaler(weights["body.0.weight"].shape[0], (last - 2) // 2, factor)
        model.load_state_dict(weights)
    except BaseModelBroken:
        raise
    except Exception as problem:
        raise BaseModelBroken(f"The upscaler '{path.name}' does not load: {problem}.") from problem
    return model.float().eval().requires_grad_(False).to(device)


class Enlargement:
    """A picture that is being enlarged, a tile a step: between two steps others get their turn, and it may be dropped.

    What is given and what is made are 8-bit pixels. Of floating-point numbers there is one tile at a time, and one
    picture where a single pass does not reach the scale.
    """

    def __init__(self, image: Image.Image, scale: int, upscaler: Upscaler, device: torch.device) -> None:
        self._upscaler = upscaler
        self._device = device
        self._size = Size(image.width * scale, image.height * scale)
        factor = upscaler.factor
        self._passes_left = upscale_count(Size(1, 1), Size(scale, scale), factor)
        reached = factor**self._passes_left
        self._shrink = reached // scale if reached % scale == 0 else 1
        self._picture = _pixels(image)
        self.step = 0
        self.steps = sum(
            len(_tiles(image.height * factor**done, image.width * factor**done)) for done in range(self._passes_left)
        )
        self._begin()

    def advance(self) -> None:
        """Enlarge the next tile."""
        top, left, bottom, right = self._tiles[self._tile]
        halo, factor = self._upscaler.reach_px, self._upscaler.factor
        y, x = max(0, top - halo), max(0, left - halo)
        around = self._picture[:, :, y : bottom + halo, x : right + halo].to(self._device)
        large = self._upscaler(_floats(around))
        rows = slice((top - y) * factor, (bottom - y) * factor)
        columns = slice((left - x) * factor, (right - x) * factor)
        large = large[:, :, rows, columns].clamp_(0, 1)
        last = self._passes_left == 1
        if last and self._shrink > 1:
            large = functional.avg_pool2d(large, self._shrink)
        grown = factor // self._shrink if last else factor
        target = self._out[:, :, top * grown : bottom * grown, left * grown : right * grown]
        target.copy_((large * 255).round() if last else large)
        self.step += 1
        self._tile += 1
        if self._tile == len(self._tiles):
            self._passes_left -= 1
            self._picture = self._out
            self._begin()

    def image(self) -> Image.Image:
        """The enlarged picture, once all steps are made."""
        made = Image.fromarray(self._picture[0].permute(1, 2, 0).contiguous().numpy())
        if Size(*made.size) == self._size:
            return made
        return made.resize((self._size.width_px, self._size.height_px), Image.Resampling.LANCZOS)

    def _begin(self) -> None:
        if self._passes_left == 0:
            return
        _, _, height, width = self._picture.shape
        self._tiles = _tiles(height, width)
        self._tile = 0
        last = self._passes_left == 1
        grown = self._upscaler.factor // self._shrink if last else self._upscaler.factor
        self._out = torch.empty(1, 3, height * grown, width * grown, dtype=torch.uint8 if last else torch.float32)


def enlargement_to(
    asked: Size, image: Image.Image, upscaler: Upscaler | None, device: torch.device
) -> Enlargement | None:
    """What brings a drawn picture to at least the size asked, for `fitted` to cut; None where it is large enough."""
    count = 0 if upscaler is None else upscale_count(Size(*image.size), asked, upscaler.factor)
    return Enlargement(image, upscaler.factor**count, upscaler, device) if upscaler is not None and count else None


def fitted(image: Image.Image, asked: Size) -> Image.Image:
    """Cut a picture to the aspect asked and resize it by Lanczos; as it is where the size is right."""
    have = Size(*image.size)
    if have == asked:
        return image
    return image.resize((asked.width_px, asked.height_px), Image.Resampling.LANCZOS, box=crop_box(have, asked))


def _weights(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    found: Any = torch.load(path, map_location="cpu", weights_only=True)
    tensors: Mapping[str, Tensor] = found.get("params_ema", found.get("params", found))
    return tensors


def _tiles(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom and right of each tile."""
    return [
        (top, left, min(height, top + TILE_PX), min(width, left + TILE_PX))
        for top in range(0, height, TILE_PX)
        for left in range(0, width, TILE_PX)
    ]


def _pixels(image: Image.Image) -> Tensor:
    """(1, 3, height, width) uint8."""
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(image.height, image.width, 3).permute(2, 0, 1)[None]


def _floats(picture: Tensor) -> Tensor:
    return picture.float() / 255 if picture.dtype == torch.uint8 else picture
