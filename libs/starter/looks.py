"""The feature space in which a LoRA's style is measured; no training ever sees it.

A look is what a picture shows (`features`) and how it is drawn: its ground, the mean and spread of its
colours (as Reinhard et al., 2001, "Color Transfer between Images"), its edge energy at three scales (after
Portilla and Simoncelli, 2000, "A Parametric Texture Model"), and how much flatter 4 px blocks are on the
raster than between. Both halves weigh the same: in each, two different pictures are 1 apart on average.
Space and scale were chosen on reference pictures alone, sound and disturbed; never on drawn ones.
"""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderTiny

from .autoencoder import decode, encode
from .features import features, lab
from .pictures import Pixels

LEAST_SPREAD = 0.05
RASTER_PX = 4


def _raster(colors: np.ndarray) -> np.ndarray:
    """Log ratio of the variance inside blocks on the raster to that inside blocks half a block off: (batch,)."""

    def inside(part: np.ndarray) -> np.ndarray:
        batch, side = part.shape[:2]
        cells = side // RASTER_PX
        blocks = part.reshape(batch, cells, RASTER_PX, cells, RASTER_PX, 3)
        return np.asarray(blocks.var((2, 4)).sum(-1).mean((1, 2)))

    half = RASTER_PX // 2
    return np.asarray(np.log((inside(colors) + 4) / (inside(colors[:, half:-half, half:-half]) + 4)))


def style_features(pixels: Pixels) -> np.ndarray:
    """(batch, 64, 64, 3) to (batch, 14): how a picture is drawn, whatever it shows."""
    colors = lab(pixels)
    batch = len(pixels)
    flat = colors.reshape(batch, -1, 3)
    sides = [colors[:, :2], colors[:, -2:], colors[:, :, :2], colors[:, :, -2:]]
    ground = np.median(np.concatenate([side.reshape(batch, -1, 3) for side in sides], 1), 1)
    chroma = np.hypot(flat[..., 1], flat[..., 2]).mean(1)
    energies = []
    shown = colors
    for _ in range(3):
        steps = [np.linalg.norm(np.diff(shown, axis=axis), axis=-1).reshape(batch, -1) for axis in (1, 2)]
        energies.append(np.log1p(np.concatenate(steps, 1).mean(1)))
        half = shown.shape[1] // 2
        shown = shown.reshape(batch, half, 2, half, 2, 3).mean((2, 4))
    columns = np.stack([np.log1p(chroma), *energies, _raster(colors)], 1)
    # Colours in units of 100, so that one floor of the spread fits every column.
    return np.concatenate([ground / 100, flat.mean(1) / 100, flat.std(1) / 100, columns], 1)


@dataclass(frozen=True)
class Looks:
    """One style beside the base: both as the autoencoder shows them, row by row of the same things."""

    style: Pixels
    base: Pixels
    spread: np.ndarray
    units: tuple[float, float]

    @staticmethod
    def of(vae: AutoencoderTiny, style: Pixels, base: Pixels) -> "Looks":
        """Looks at two sets of reference pictures: (pictures, 64, 64, 3) each."""
        shown, plain = decode(vae, encode(vae, style)), decode(vae, encode(vae, base))
        how = [style_features(shown), style_features(plain)]
        spread = np.maximum(np.sqrt((how[0].var(0) + how[1].var(0)) / 2), LEAST_SPREAD)
        what = [features(shown), features(plain)]
        units = (_unit(what), _unit([part / spread for part in how]))
        return Looks(shown, plain, spread, units)

    def __call__(self, pixels: Pixels) -> np.ndarray:
        """(batch, 64, 64, 3) to (batch, 302); distances are Euclidean."""
        halves = [features(pixels) / self.units[0], style_features(pixels) / self.spread / self.units[1]]
        return np.concatenate(halves, 1)

    def away(self, pixels: Pixels, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Distances of pictures to the style's and to the base's pictures in `rows`: (batch,) each."""
        here, style, base = self(pixels), self(self.style[rows]), self(self.base[rows])
        return np.linalg.norm(here - style, axis=1), np.linalg.norm(here - base, axis=1)


def _unit(sets: list[np.ndarray]) -> float:
    """Root mean squared distance between different pictures of a set."""
    squares = [((rows - np.roll(rows, 7, 0)) ** 2).sum(1).mean() for rows in sets]
    return float(np.sqrt(np.mean(squares)))


def disturbed(vae: AutoencoderTiny, pixels: Pixels, seed: int = 3) -> Pixels:
    """Reference pictures as a faulty model would draw them: a third of another picture, and noise."""
    generator = torch.Generator().manual_seed(seed)
    latents = encode(vae, pixels)
    other = latents[torch.randperm(len(latents), generator=generator)]
    noise = torch.randn(latents.shape, generator=generator)
    return decode(vae, 0.7 * latents + 0.3 * other + 0.25 * noise)
