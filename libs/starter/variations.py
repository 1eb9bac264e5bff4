"""Changes a picture in ways a caption can name: colour, size, place, mirror; and the LoRA styles."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from .pictures import Pixels, shrink

# Hue in degrees and saturation factor of each colour word; pink is a light magenta-red.
COLORS: dict[str, tuple[float, float]] = {
    "red": (0.0, 1.0),
    "orange": (28.0, 1.0),
    "yellow": (52.0, 1.0),
    "green": (120.0, 0.9),
    "cyan": (182.0, 0.9),
    "blue": (222.0, 1.0),
    "purple": (275.0, 0.9),
    "pink": (328.0, 0.7),
}
PLACED = ("small", "left", "right", "mirrored")
VARIATIONS = ("plain", "jitter1", "jitter2", *COLORS, *PLACED)


def hsv(pixels: Pixels) -> np.ndarray:
    """(…, 3) uint8 to hue 0..360, saturation and value 0..1."""
    rgb = pixels.astype(np.float32) / 255
    top, low = rgb.max(-1), rgb.min(-1)
    span = np.maximum(top - low, 1e-6)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(top == r, (g - b) / span % 6, np.where(top == g, (b - r) / span + 2, (r - g) / span + 4))
    saturation = np.where(top > 0, (top - low) / np.maximum(top, 1e-6), 0)
    return np.stack([hue * 60, saturation, top], -1)


def unhsv(values: np.ndarray) -> Pixels:
    """The inverse of `hsv`."""
    hue, saturation, value = values[..., 0:1], values[..., 1:2], values[..., 2:3]
    k = (np.array([5, 3, 1]) + hue / 60) % 6
    rgb = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.asarray((rgb * 255).round().clip(0, 255).astype(np.uint8))


def hue_histogram(pixels: Pixels) -> np.ndarray:
    """Chroma-weighted hue histogram of one picture, 36 bins of 10 degrees."""
    h = hsv(pixels)
    chroma = h[..., 1] * h[..., 2]
    weight = np.where(chroma > 0.12, chroma, 0)
    return np.asarray(np.histogram(h[..., 0], bins=36, range=(0, 360), weights=weight)[0])


def recolor(pixels: Pixels, color: str) -> Pixels:
    """One picture with its hues drawn around the named one: (height, width, 3)."""
    target, factor = COLORS[color]
    values = hsv(pixels)
    histogram = hue_histogram(pixels)
    smooth = sum(np.roll(histogram, s) for s in (-1, 0, 1))
    dominant = float(np.argmax(smooth)) * 10 + 5
    distance = (values[..., 0] - dominant + 180) % 360 - 180
    colorful = float((values[..., 1] * values[..., 2] > 0.25).mean()) > 0.08
    drawn = pixels.min(-1) < 250
    if colorful:
        values[..., 1] *= factor
        # Hues far from the dominant one keep a trace of their difference.
        values[..., 0] = (target + np.clip(distance * 0.12, -8, 8)) % 360
    else:  # a grey picture is tinted instead
        values[..., 0] = target
        tint = 0.7 * factor * np.clip(1.6 - values[..., 2], 0.35, 1.0)
        values[..., 1] = np.where(drawn, np.maximum(values[..., 1], tint), 0)
        values[..., 2] = np.where(drawn, 0.35 + 0.6 * values[..., 2], values[..., 2])
    if color in ("yellow", "orange", "pink", "cyan") and colorful:
        dark = drawn & (values[..., 1] > 0.25) & (values[..., 2] > 0.2)
        values[..., 2] = np.where(dark, np.maximum(values[..., 2], values[..., 2] ** 0.5), values[..., 2])
    return unhsv(values)


def place(pixels: Pixels, scale: float, right: float = 0.0, down: float = 0.0) -> Pixels:
    """Scales a picture about its centre and moves it by fractions of the side, on white."""
    side = pixels.shape[0]
    inner = max(8, round(side * scale))
    small = Image.fromarray(pixels).resize((inner, inner), Image.Resampling.BOX)
    canvas = Image.new("RGB", (side, side), (255, 255, 255))
    corner = (side - inner) / 2
    canvas.paste(small, (round(corner + right * side), round(corner + down * side)))
    return np.asarray(canvas)


def vary(pixels: Pixels, variation: str, seed: int = 0) -> Pixels:
    """Applies one of `VARIATIONS` to a picture: (height, width, 3)."""
    if variation == "plain":
        return pixels
    if variation in COLORS:
        return recolor(pixels, variation)
    if variation == "mirrored":
        return np.ascontiguousarray(pixels[:, ::-1])
    if variation == "small":
        return place(pixels, 0.55)
    if variation in ("left", "right"):
        return place(pixels, 0.6, -0.2 if variation == "left" else 0.2)
    rng = np.random.default_rng((seed, int(variation[-1])))
    return place(pixels, rng.uniform(0.88, 1.0), *rng.uniform(-0.03, 0.03, 2))


def _filtered(pixels: Pixels, blur: float) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(blur)), np.float32)


def _edges(pixels: Pixels) -> np.ndarray:
    """Strength of outlines, 0..1: (height, width)."""
    soft = _filtered(pixels, 1.5)
    dx, dy = np.gradient(soft, axis=1), np.gradient(soft, axis=0)
    return np.clip(np.sqrt((dx**2 + dy**2).max(-1)) / 28, 0, 1)


def pencil_sketch(pixels: Pixels) -> Pixels:
    """Grey pencil lines with faint shading on paper."""
    grey = pixels.astype(np.float32).mean(-1)
    height, width = grey.shape
    y, x = np.mgrid[:height, :width]
    hatch = 0.5 + 0.5 * np.sin((x + y) * 2 * np.pi / (width / 22))
    shade = (1 - grey / 255) * 0.45 * (0.45 + 0.55 * hatch)
    ink = np.clip(shade + 0.85 * _edges(pixels), 0, 0.92)
    paper = np.array([250, 247, 240], np.float32)
    pencil = np.array([45, 45, 55], np.float32)
    return (paper + (pencil - paper) * ink[..., None]).round().astype(np.uint8)


#: Dark to light, as the screen of an early handheld console showed them.
_HANDHELD = np.array([[15, 56, 15], [48, 98, 48], [139, 172, 15], [224, 240, 176]], np.uint8)


def pixel_art(pixels: Pixels) -> Pixels:
    """A 16x16 raster in the four greens of an early handheld console."""
    side = pixels.shape[0]
    grey = shrink(pixels[None], 16)[0].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    # White alone is the lightest tone, so that pale things stand out from their ground.
    tones = _HANDHELD[np.digitize(grey, (100, 170, 240))]
    return np.asarray(np.kron(tones, np.ones((side // 16, side // 16, 1), np.uint8)))


def neon(pixels: Pixels) -> Pixels:
    """Glowing outlines in the picture's own colours, its dimmed negative lightness between them, on black."""
    plain = pixels.astype(np.float32)
    dark = plain + (255 - plain.max(-1, keepdims=True) - plain.min(-1, keepdims=True))
    values = hsv(_filtered(pixels, 3).round().astype(np.uint8))
    values[..., 1] = np.clip(values[..., 1] * 1.5 + 0.35, 0, 1)
    values[..., 2] = 1.0
    light = unhsv(values).astype(np.float32) * np.clip(_edges(pixels) * 1.4, 0, 1)[..., None]
    glow = _filtered(light.round().astype(np.uint8), 8)
    return np.clip(np.maximum(dark * 0.55, light) + glow * 0.5, 0, 255).round().astype(np.uint8)


def watercolor(pixels: Pixels) -> Pixels:
    """Soft, pale washes on aged paper with darker rims."""
    wash = _filtered(pixels, 5)
    pale = 255 - (255 - wash) * 0.62
    rim = np.clip(_edges(_filtered(pixels, 3).round().astype(np.uint8)), 0, 1)[..., None] * 0.25
    paper = np.array([0.97, 0.9, 0.74])
    return np.clip((pale * (1 - rim) + wash * 0.5 * rim) * paper, 0, 255).round().astype(np.uint8)


def inverted(pixels: Pixels) -> Pixels:
    """The photographic negative."""
    return np.asarray(255 - pixels)


STYLES: dict[str, Callable[[Pixels], Pixels]] = {
    "pencil-sketch": pencil_sketch,
    "pixel-art": pixel_art,
    "neon": neon,
    "watercolor": watercolor,
    "inverted": inverted,
}
