"""Compares pictures of the platform. The same run drawn among others may differ by a grey level: see the engine."""

from __future__ import annotations

import io

from PIL import Image, ImageChops


def farthest(one: bytes, other: bytes) -> int:
    """How far two image files are apart at most, in grey levels of 255."""
    with Image.open(io.BytesIO(one)) as first, Image.open(io.BytesIO(other)) as second:
        difference = ImageChops.difference(first.convert("RGB"), second.convert("RGB"))
    # `getextrema` is annotated for pictures of one band.
    return max(band.getextrema()[1] for band in difference.split())  # type: ignore[return-value]
