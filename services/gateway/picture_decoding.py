"""Decodes one picture in a process of its own: `python -m services.gateway.picture_decoding SOURCE TARGET`.

Whatever a hostile file does to a decoder, it does it here: within bounds of memory and processor time, where nothing of
the gateway's is. It prints one JSON object: what was kept, or why nothing was. It stands alone beside `picture_file`.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import warnings
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageCms, ImageOps

from services.gateway.picture_file import MAX_PIXELS, Found, NotTaken, inspect

MEMORY_LIMIT_BYTES: Final = 2 << 30
PROCESSOR_LIMIT_S: Final = 30

#: No run begins from more: larger pictures are kept at this.
MAX_KEPT_SIDE_PX: Final = 4_096

_MAX_PROFILE_BYTES: Final = 1 << 20
_WHITE: Final = (255, 255, 255, 255)


def keep(content: bytes, target: Path) -> dict[str, Any]:
    """Write the picture as an upright 8-bit RGB PNG with nothing beside its pixels; gives what was found and kept.

    Raises:
        NotTaken: if it cannot be.
    """
    found = inspect(content)
    try:
        picture = _decoded(content, found)
    except NotTaken:
        raise
    except MemoryError as problem:
        raise NotTaken("The picture takes too much memory to decode.") from problem
    except Exception as problem:
        raise NotTaken(f"The {found.format} cannot be decoded: it is damaged.") from problem
    picture.info.clear()
    picture.save(target, "PNG", compress_level=1)
    return {"format": found.format, "width_px": picture.width, "height_px": picture.height}


def _decoded(content: bytes, found: Found) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=[found.format]) as image:
        if image.width * image.height > MAX_PIXELS:
            raise NotTaken(f"The picture has more than {MAX_PIXELS} pixels.")
        image.load()
        profile = image.info.get("icc_profile")
        return _reduced(_in_rgb(_upright(image), profile))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - a damaged note of how the camera was held spoils no picture
        return image


def _in_rgb(image: Image.Image, profile: Any) -> Image.Image:
    """8-bit RGB in sRGB; what shines through is white."""
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    if isinstance(profile, bytes) and len(profile) <= _MAX_PROFILE_BYTES and image.mode in ("RGB", "CMYK", "L"):
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            turned = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            turned = None
        if turned is not None:
            return turned
    return image.convert("RGB")


def _reduced(image: Image.Image) -> Image.Image:
    longest_px = max(image.size)
    if longest_px <= MAX_KEPT_SIDE_PX:
        return image
    scale = MAX_KEPT_SIDE_PX / longest_px
    width_px, height_px = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width_px, height_px), Image.Resampling.LANCZOS, reducing_gap=2.0)


def main(arguments: list[str]) -> int:
    """Run within the bounds; the exit code is 0 where something was said."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_LIMIT_S, PROCESSOR_LIMIT_S + 1))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    source, target = arguments
    try:
        said = keep(Path(source).read_bytes(), Path(target))
    except NotTaken as problem:
        said = {"refused": str(problem)}
    sys.stdout.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
