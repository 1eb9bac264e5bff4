"""What a picture's file says of itself: type, size and where it ends, read from its structure, not decoded. Pure.

It stands alone, because the process that decodes has nothing but it and Pillow. Sources: PNG is ISO/IEC 15948, JPEG
ITU-T T.81 annex B, WebP RFC 9649.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 20_000_000
MAX_PIXELS: Final = 50_000_000
MIN_SIDE_PX: Final = 16
MAX_SIDE_PX: Final = 16_384
MAX_ASPECT: Final = 16

#: Chunks of a PNG, scans of a JPEG: each costs time, and no camera or program writes so many.
_MAX_CHUNKS: Final = 50_000
_MAX_SCANS: Final = 100

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_NEXT_MARKER: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9


class NotTaken(ValueError):
    """The file is no picture that is taken; the message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is; its sides are as stored, before any turning."""

    format: str
    """`png`, `jpeg` or `webp`."""
    width_px: int
    height_px: int


def inspect(content: bytes) -> Found:
    """Tell what a file is, by its content alone.

    Raises:
        NotTaken: if it is none of the three types, cut off, followed by something else, or too large or small.
    """
    if content.startswith(_PNG):
        found = _png(content)
    elif content.startswith(b"\xff\xd8\xff"):
        found = _jpeg(content)
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        found = _webp(content)
    else:
        raise NotTaken("The file is no PNG, JPEG or WebP.")
    _check_size(found)
    return found


def _check_size(found: Found) -> None:
    short, long = sorted((found.width_px, found.height_px))
    size = f"The picture has {found.width_px} x {found.height_px} pixels"
    if found.width_px * found.height_px > MAX_PIXELS:
        raise NotTaken(f"{size}; at most {MAX_PIXELS} pixels are taken.")
    if short < MIN_SIDE_PX or long > MAX_SIDE_PX:
        raise NotTaken(f"{size}; its sides must have between {MIN_SIDE_PX} and {MAX_SIDE_PX}.")
    if long > short * MAX_ASPECT:
        raise NotTaken(f"{size}; its longer side may be at most {MAX_ASPECT} times the shorter.")


def _png(content: bytes) -> Found:
    if content[12:16] != b"IHDR" or content[8:12] != b"\0\0\0\x0d":
        raise NotTaken("The PNG does not begin with its header.")
    at, has_data = len(_PNG), False
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(content):
            raise _truncated("PNG")
        (length,) = struct.unpack_from(">I", content, at)
        kind = content[at + 4 : at + 8]
        at += 12 + length
        has_data = has_data or kind == b"IDAT"
        if kind == b"IEND":
            break
    else:
        raise NotTaken(f"The PNG has more than {_MAX_CHUNKS} chunks.")
    if at > len(content) or not has_data:
        raise _truncated("PNG")
    if at < len(content):
        raise _followed("PNG")
    width_px, height_px = struct.unpack_from(">II", content, 16)
    return Found("png", width_px, height_px)


def _jpeg(content: bytes) -> Found:
    at, scans, found = 2, 0, None
    while True:
        marker = _NEXT_MARKER.search(content, at)
        if marker is None or (not scans and marker.start() != at):
            raise _truncated("JPEG")
        at, code = marker.end(), content[marker.end() - 1]
        if code == _END:
            break
        if code in _STANDALONE:
            continue
        if at + 2 > len(content):
            raise _truncated("JPEG")
        (length,) = struct.unpack_from(">H", content, at)
        if code in _FRAMES and found is None and at + 7 <= len(content):
            height_px, width_px = struct.unpack_from(">HH", content, at + 3)
            found = Found("jpeg", width_px, height_px)
        scans += code == _SCAN
        if scans > _MAX_SCANS:
            raise NotTaken(f"The JPEG has more than {_MAX_SCANS} scans.")
        at += length
    if found is None or not scans:
        raise _truncated("JPEG")
    if not _is_usual_tail(content[at:]):
        raise _followed("JPEG")
    return found


def _is_usual_tail(tail: bytes) -> bool:
    """Tell whether cameras put such a thing behind their picture: padding, more pictures, a film, their own trailer."""
    return (
        not tail.strip(b"\0\xff\r\n\t ")
        or tail.startswith(b"\xff\xd8\xff")
        or tail[4:8] == b"ftyp"
        or tail.endswith(b"SEFT")
    )


def _webp(content: bytes) -> Found:
    (length,) = struct.unpack_from("<I", content, 4)
    end = 8 + length
    if end > len(content) or len(content) < 30:
        raise _truncated("WebP")
    if content[end:].strip(b"\0"):
        raise _followed("WebP")
    match content[12:16]:
        case b"VP8X":
            width_px = 1 + int.from_bytes(content[24:27], "little")
            height_px = 1 + int.from_bytes(content[27:30], "little")
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", content, 21)
            width_px, height_px = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width_px, height_px = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
        case _:
            raise NotTaken("The WebP has no picture where one must be.")
    return Found("webp", width_px, height_px)


def _truncated(kind: str) -> NotTaken:
    return NotTaken(f"The {kind} is cut off or damaged.")


def _followed(kind: str) -> NotTaken:
    return NotTaken(f"The {kind} is followed by something that is no part of it.")
