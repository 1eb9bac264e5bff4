"""A drawn picture to a stored image: encoded and hashed in a thread, then uploaded. Durable when `store` returns."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from imagineo.blobs.port import Blobs
from imagineo.errors import Unavailable
from imagineo.v1 import generation_pb2, job_pb2
from PIL import ExifTags, Image, PngImagePlugin

from services.worker.engine.base import DrawResult

#: How long an upload is tried again before the run is handed back.
UPLOAD_TRIES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Format:
    """How a file type is written."""

    extension: str
    content_type: str
    pillow_name: str
    options: dict[str, Any]


FORMATS: Final[dict[generation_pb2.OutputFormat.ValueType, Format]] = {
    generation_pb2.OUTPUT_FORMAT_PNG: Format("png", "image/png", "PNG", {"compress_level": 4}),
    generation_pb2.OUTPUT_FORMAT_WEBP: Format("webp", "image/webp", "WEBP", {"quality": 92, "method": 4}),
    generation_pb2.OUTPUT_FORMAT_JPEG: Format(
        "jpeg", "image/jpeg", "JPEG", {"quality": 95, "subsampling": 0, "optimize": True}
    ),
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image file in memory."""

    content: bytes
    sha256: str


def encode(drawn: DrawResult, output_format: generation_pb2.OutputFormat.ValueType, note: str = "") -> Encoded:
    """Encode and hash; pure work for a thread. An unset format is PNG; `note` goes into the file's own text."""
    form = FORMATS.get(output_format, FORMATS[generation_pb2.OUTPUT_FORMAT_PNG])
    image = Image.frombytes("RGB", (drawn.width_px, drawn.height_px), drawn.rgb)
    buffer = io.BytesIO()
    image.save(buffer, form.pillow_name, **form.options, **(_noted(form, note) if note else {}))
    content = buffer.getvalue()
    return Encoded(content, hashlib.sha256(content).hexdigest())


def _noted(form: Format, note: str) -> dict[str, Any]:
    """A text chunk `parameters` in a PNG, the EXIF user comment elsewhere: where the field's tools look."""
    if form.pillow_name == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("parameters", note)
        return {"pnginfo": text}
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = "Imagineo"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + note.encode("utf-16-be")
    return {"exif": exif}


async def store(
    blobs: Blobs, job: job_pb2.Job, attempt: int, drawn: DrawResult, encoded: Encoded, *, is_wanted: Callable[[], bool]
) -> generation_pb2.Image:
    """Upload under the attempt's own key, so that a late attempt overwrites nothing; tried again while wanted.

    Raises:
        Unavailable: if the store stays away.
    """
    wanted_format = job.parameters.output_format or generation_pb2.OUTPUT_FORMAT_PNG
    form = FORMATS[wanted_format]
    key = f"images/{job.organization_id}/{job.run_id}/{attempt}.{form.extension}"
    for pause_s in (*UPLOAD_TRIES_S, None):
        try:
            await blobs.put(key, encoded.content, content_type=form.content_type)
            break
        except Unavailable:
            if pause_s is None or not is_wanted():
                raise
        await asyncio.sleep(pause_s)
    return generation_pb2.Image(
        store_key=key,
        width=drawn.width_px,
        height=drawn.height_px,
        output_format=wanted_format,
        size_bytes=len(encoded.content),
        sha256=encoded.sha256,
    )
