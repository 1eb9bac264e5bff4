"""Pictures for tests: good ones of each type, hostile files made byte by byte; and how near two pictures are."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageChops, ImageDraw

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A red square at the left upper corner of a blue field with a green foot: no two corners are alike."""
    image = Image.new("RGB", (width, height), (30, 60, 200))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 3, height // 3), fill=(220, 30, 30))
    draw.rectangle((0, height - height // 5, width, height), fill=(20, 160, 60))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A file in memory."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(content: bytes) -> Image.Image:
    """A file's picture, loaded."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def data_url(content: bytes, media_type: str = "image/png") -> str:
    """The file as text."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int, rows: bytes = b"") -> bytes:
    """A 1-bit grey PNG that says it has this size, whatever its rows hold."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def bomb(width: int, height: int) -> bytes:
    """A small file whose picture is as large as it says: rows of zeros, packed."""
    return png_of_size(width, height, bytes((width + 7) // 8 + 1) * height)


def text_bomb(unpacked_bytes: int = 200_000_000) -> bytes:
    """A good small PNG with a note that unpacks to very much."""
    note = b"Comment\0\1\0\0\0" + zlib.compress(bytes(unpacked_bytes), 9)
    content = encoded(scene())
    at = content.index(b"IDAT") - 4
    return content[:at] + chunk(b"iTXt", note) + content[at:]


def sideways_jpeg(image: Image.Image) -> bytes:
    """A JPEG as a camera held sideways writes it: turned, with the EXIF note that says so, and a comment."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "SECRET-DESCRIPTION"
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95, comment=b"SECRET-COMMENT")


def many_scans_jpeg(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    content = encoded(scene(), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * count + content[-2:]


def farthest(one: bytes, other: bytes) -> int:
    """How far two image files are apart at most, in grey levels of 255.

    The same run drawn among others may differ by a grey level: see the engine.
    """
    with Image.open(io.BytesIO(one)) as first, Image.open(io.BytesIO(other)) as second:
        difference = ImageChops.difference(first.convert("RGB"), second.convert("RGB"))
    # `getextrema` is annotated for pictures of one band.
    return max(band.getextrema()[1] for band in difference.split())  # type: ignore[return-value]
