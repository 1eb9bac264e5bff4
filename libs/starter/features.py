"""The small feature space in which pictures are compared; no training ever sees it.

A picture is its colour layout (8x8 averages in CIE Lab) and, in each of 4x4 cells, how strong
its edges are in six directions. Both parts weigh about the same.
"""

import numpy as np

from .pictures import Pixels, shrink


def lab(pixels: Pixels) -> np.ndarray:
    """Converts sRGB uint8 (…, 3) to CIE L*a*b* under D65, float32."""
    rgb = pixels.astype(np.float32) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089], np.float32)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def edge_histograms(pixels: Pixels, cells: int = 4, directions: int = 6) -> np.ndarray:
    """(batch, side, side, 3) to (batch, cells * cells * directions): edge strength by direction."""
    grey = pixels.astype(np.float32).mean(-1)
    dy, dx = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(dx, dy)
    sector = (np.arctan2(dy, dx) % np.pi / np.pi * directions).astype(int) % directions
    batch, side, _ = grey.shape
    step = side // cells
    parts = []
    for direction in range(directions):
        here = np.where(sector == direction, strength, 0)
        parts.append(here.reshape(batch, cells, step, cells, step).mean((2, 4)))
    return np.sqrt(np.stack(parts, -1)).reshape(batch, -1)


def features(pixels: Pixels) -> np.ndarray:
    """(batch, 64, 64, 3) to (batch, 288), float32; distances are Euclidean."""
    layout = lab(shrink(pixels, 8)).reshape(len(pixels), -1) / 100
    edges = edge_histograms(pixels) / 4
    return np.concatenate([layout, edges * np.sqrt(layout.shape[1] / edges.shape[1])], 1)


def distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(m, n) and (k, n) feature rows to (m, k) Euclidean distances."""
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    return np.sqrt(np.maximum(squares, 0))
