"""Which size a base model draws at to reach the size asked. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: Sides of latents are eighths of pixels.
GRID_PX: Final = 8
#: A side that a UNet still draws something on.
SMALLEST_PX: Final = 32


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width_px: int
    height_px: int


def drawn_size(asked: Size, *, native_px: int, upscales: bool, grid_px: int = GRID_PX) -> Size:
    """The size to draw at: the asked one, or for a base that upscales its native area in the aspect asked.

    Sides are multiples of `grid_px`; of the sizes near the native area the one with the truest aspect is taken.
    """
    if not upscales:
        return Size(_up(asked.width_px, grid_px), _up(asked.height_px, grid_px))
    aspect = asked.width_px / asked.height_px
    ideal_width = native_px * math.sqrt(aspect)
    around = {max(SMALLEST_PX, _down(ideal_width, grid_px) + offset) for offset in (0, grid_px)}
    sizes = [
        Size(width, max(SMALLEST_PX, height))
        for width in sorted(around)
        for height in (_down(width / aspect, grid_px), _down(width / aspect, grid_px) + grid_px)
    ]
    return min(sizes, key=lambda size: _badness(size, aspect, native_px))


def upscale_count(drawn: Size, asked: Size, factor: int) -> int:
    """How often to upscale by `factor` until both sides reach the size asked."""
    count = 0
    scale = 1
    while drawn.width_px * scale < asked.width_px or drawn.height_px * scale < asked.height_px:
        scale *= factor
        count += 1
    return count


def crop_box(have: Size, asked: Size) -> tuple[float, float, float, float]:
    """The largest centred box of `have` in the aspect asked: left, top, right, bottom in pixels."""
    scale = min(have.width_px / asked.width_px, have.height_px / asked.height_px)
    width, height = asked.width_px * scale, asked.height_px * scale
    left, top = (have.width_px - width) / 2, (have.height_px - height) / 2
    return (left, top, left + width, top + height)


def _badness(size: Size, aspect: float, native_px: int) -> float:
    wrong_aspect = abs(math.log(size.width_px / size.height_px / aspect))
    wrong_area = abs(math.log(size.width_px * size.height_px / native_px**2))
    return 2 * wrong_aspect + wrong_area


def _down(side_px: float, grid_px: int) -> int:
    return int(side_px // grid_px) * grid_px


def _up(side_px: int, grid_px: int) -> int:
    return -(-side_px // grid_px) * grid_px
