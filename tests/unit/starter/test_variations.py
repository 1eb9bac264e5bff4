"""Variations change colour and place as their names say."""

import numpy as np
import pytest

from libs.starter.measures import named_color
from libs.starter.variations import COLORS, STYLES, VARIATIONS, hsv, place, recolor, unhsv, vary


def disc(color: tuple[int, int, int]) -> np.ndarray:
    """A coloured disc on white: (64, 64, 3)."""
    y, x = np.mgrid[:64, :64]
    inside = (x - 32) ** 2 + (y - 32) ** 2 < 24**2
    return np.where(inside[..., None], np.array(color, np.uint8), np.uint8(255)).astype(np.uint8)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("start", [(200, 40, 30), (30, 90, 200), (128, 128, 128)])
def test_a_recolored_picture_has_the_named_hue(color: str, start: tuple[int, int, int]) -> None:
    assert named_color(recolor(disc(start), color)) == color


def test_hue_saturation_value_round_trips() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert np.abs(unhsv(hsv(pixels)).astype(int) - pixels).max() <= 1


def test_a_small_picture_keeps_white_around_it() -> None:
    small = place(disc((10, 10, 10)), 0.5)
    assert (small[:12] == 255).all()
    assert (small[32, 32] == 10).all()


def test_left_and_right_are_apart() -> None:
    left, right = (vary(disc((10, 10, 10)), side)[32] for side in ("left", "right"))
    assert np.argmin(left.sum(1)) < np.argmin(right.sum(1))


@pytest.mark.parametrize("variation", VARIATIONS)
def test_variations_keep_shape_and_type(variation: str) -> None:
    made = vary(disc((200, 40, 30)), variation)
    assert made.shape == (64, 64, 3)
    assert made.dtype == np.uint8


@pytest.mark.parametrize("style", STYLES)
def test_styles_keep_shape_and_change_the_picture(style: str) -> None:
    picture = disc((200, 40, 30))
    made = STYLES[style](picture)
    assert made.shape == picture.shape
    assert made.dtype == np.uint8
    assert not np.array_equal(made, picture)
