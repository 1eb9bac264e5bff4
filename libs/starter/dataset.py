"""The training arrays, cached in the work folder: every variation and style at 64 px."""

from pathlib import Path

import numpy as np

from .captions import color_phrase
from .pictures import TRAINED_PX, Picture, Pixels, choose, fetch, rendered, shrink
from .variations import COLORS, STYLES, VARIATIONS, vary


def pictures_of(work: Path) -> list[Picture]:
    """The picture set, fetched when missing."""
    fetch(work)
    return choose(work)


def base_pixels(work: Path, pictures: list[Picture]) -> Pixels:
    """(pictures, variations, 64, 64, 3) in the order of `VARIATIONS`."""
    path = work / f"base-{TRAINED_PX}.npy"
    if not path.exists():
        big = rendered(work, pictures)
        small = np.stack([[vary(p, v, i) for v in VARIATIONS] for i, p in enumerate(shrink(big, 128))])
        flat = shrink(small.reshape(-1, 128, 128, 3))
        np.save(path, flat.reshape(len(pictures), len(VARIATIONS), TRAINED_PX, TRAINED_PX, 3))
    return np.asarray(np.load(path))


def style_pixels(work: Path, pictures: list[Picture], style: str) -> Pixels:
    """(pictures, 64, 64, 3) of one LoRA style; for fluent-flat, pictures it lacks are white."""
    path = work / f"style-{style}-{TRAINED_PX}.npy"
    if not path.exists():
        if style == "fluent-flat":
            small = shrink(rendered(work, pictures, "fluent"))
        else:
            small = shrink(np.stack([STYLES[style](p) for p in rendered(work, pictures)]))
        np.save(path, small)
    return np.asarray(np.load(path))


def has_style(pictures: list[Picture], style: str) -> np.ndarray:
    """Which pictures exist in a style: (pictures,) bool."""
    return np.array([style != "fluent-flat" or p.fluent_body is not None for p in pictures])


def colorable(pictures: list[Picture]) -> np.ndarray:
    """Which (picture, colour) pairs have a phrase of their own: (pictures, colours) bool."""
    taken = {name for p in pictures for name in p.names}
    seen: set[str] = set()
    allowed = np.zeros((len(pictures), len(COLORS)), bool)
    for row, picture in enumerate(pictures):
        for column, color in enumerate(COLORS):
            phrase = color_phrase(picture.name, color)
            allowed[row, column] = phrase not in taken and phrase not in seen
        seen.update(color_phrase(picture.name, color) for color in COLORS)
    return allowed
