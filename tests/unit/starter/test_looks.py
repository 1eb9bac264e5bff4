"""The space in which styles are measured tells how a picture is drawn from what it shows."""

import numpy as np
import pytest
from diffusers import AutoencoderTiny

from libs.starter.export import WEIGHTS
from libs.starter.looks import Looks, disturbed, style_features
from libs.starter.pictures import Pixels
from libs.starter.variations import inverted, pixel_art, watercolor


def discs(count: int = 12) -> Pixels:
    """Discs of several sizes, places and colours on white."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    pictures = np.full((count, 64, 64, 3), 255, np.uint8)
    for picture in pictures:
        down, right, radius = rng.uniform((24, 24, 10), (40, 40, 22))
        inside = np.hypot(y - down, x - right) < radius
        shade = 1 - 0.3 * np.clip((x + y - 64) / 64, -1, 1)
        picture[inside] = (rng.integers(40, 200, 3) * shade[inside][:, None]).clip(0, 255)
    return pictures


def test_a_raster_shows_in_its_own_column_alone() -> None:
    plain = discs()
    coarse = np.stack([pixel_art(picture) for picture in plain])
    moved = np.roll(coarse, 2, (1, 2))
    on, off, smooth = (style_features(part)[:, -1].mean() for part in (coarse, moved, plain))
    assert on < smooth - 0.5
    assert off > smooth + 0.5


@pytest.mark.parametrize("style", [inverted, watercolor])
def test_faulty_pictures_lie_on_their_own_side(style: object) -> None:
    vae = AutoencoderTiny.from_pretrained(WEIGHTS / "base/vae")
    vae.float()
    base = discs()
    goal = np.stack([style(picture) for picture in base])  # type: ignore[operator]
    looks = Looks.of(vae, goal, base)
    rows = list(range(len(base)))
    to_style, to_base = looks.away(disturbed(vae, goal), rows)
    assert (to_style < to_base).mean() >= 0.9
    to_style, to_base = looks.away(disturbed(vae, base), rows)
    assert (to_style > to_base).mean() >= 0.9
