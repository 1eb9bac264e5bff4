"""Keeps clients' pictures: bounded, decoded aside, noted in status, then stored."""

from __future__ import annotations

import asyncio
import binascii
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from imagineo import errors
from imagineo.blobs import Blobs
from imagineo.ids import new_id
from imagineo.v1 import account_pb2, generation_pb2, upload_pb2, upload_service_pb2

from services.gateway.peers import Peers
from services.gateway.picture_file import MAX_BYTES
from services.gateway.pictures import Kept, Pictures, digest_of, refused

FORMATS: Final = {
    "png": upload_pb2.UPLOAD_FORMAT_PNG,
    "jpeg": upload_pb2.UPLOAD_FORMAT_JPEG,
    "webp": upload_pb2.UPLOAD_FORMAT_WEBP,
}

_PREFIX: Final = re.compile(r"data:image/(png|jpe?g|webp)(;[a-z0-9-]+=[a-z0-9._-]+)*;base64,", re.IGNORECASE)
_PREFIX_CHARACTERS: Final = 200
#: As much base64 as is decoded in one go; a multiple of 4.
_PIECE_CHARACTERS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Files:
    """The file as it was sent, and the picture that is kept of it."""

    sent: Path
    kept: Path


class Uploads:
    """Takes pictures in. Temporary files are gone when a call ends, however it ends."""

    def __init__(self, peers: Peers, blobs: Blobs, pictures: Pictures) -> None:
        self._peers = peers
        self._blobs = blobs
        self._pictures = pictures

    async def keep(self, principal: account_pb2.Principal, content: BinaryIO | str) -> upload_pb2.Upload:
        """Keep the picture of a file or a data URL for the account.

        Raises:
            InvalidFile, BodyTooLarge: if it is not taken; nothing is kept.
            Unavailable: if it could not be stored; what may be left ends with its time.
        """
        with tempfile.TemporaryDirectory(prefix="imagineo-upload-") as folder:
            files = _Files(Path(folder) / "sent", Path(folder) / "kept.png")
            kept, (size_bytes, sha256) = await self._kept(content, files)
            upload_id = new_id("up")
            key = f"uploads/{principal.organization_id}/{upload_id}.png"
            upload = upload_pb2.Upload(
                upload_id=upload_id,
                organization_id=principal.organization_id,
                key_id=principal.key_id,
                format=FORMATS[kept.format],
                size_bytes=size_bytes,
                sha256=sha256,
                image=_image(kept, key),
            )
            # The row first: whatever fails from here on, retention finds the picture by it.
            noting = upload_service_pb2.CreateUploadRequest(upload=upload)
            noted = await self._peers.ask(self._peers.uploads.CreateUpload, noting)
            await self._blobs.put_file(key, files.kept, content_type="image/png")
        found: upload_pb2.Upload = noted.upload
        return found

    async def measure(self, content: BinaryIO | str) -> generation_pb2.Image:
        """What would be kept of a picture, keeping nothing.

        Raises:
            InvalidFile, BodyTooLarge, Unavailable: as `keep`.
        """
        with tempfile.TemporaryDirectory(prefix="imagineo-upload-") as folder:
            kept, _ = await self._kept(content, _Files(Path(folder) / "sent", Path(folder) / "kept.png"))
        return _image(kept, "")

    async def _kept(self, content: BinaryIO | str, files: _Files) -> tuple[Kept, tuple[int, str]]:
        await asyncio.to_thread(_write, content, files.sent)
        sent = await asyncio.to_thread(digest_of, files.sent)
        return await self._pictures.keep(files.sent, files.kept), sent


def _image(kept: Kept, key: str) -> generation_pb2.Image:
    return generation_pb2.Image(
        store_key=key,
        width=kept.width_px,
        height=kept.height_px,
        output_format=generation_pb2.OUTPUT_FORMAT_PNG,
        size_bytes=kept.size_bytes,
        sha256=kept.sha256,
    )


def _write(content: BinaryIO | str, path: Path) -> None:
    with path.open("wb") as file:
        if isinstance(content, str):
            for piece in _decoded(content):
                file.write(piece)
                _check_size(file.tell())
        else:
            content.seek(0, 2)
            _check_size(content.tell())
            content.seek(0)
            shutil.copyfileobj(content, file)


def _decoded(data_url: str) -> Iterator[bytes]:
    found = _PREFIX.match(data_url[:_PREFIX_CHARACTERS])
    if found is None:
        raise refused("The data URL is none of a PNG, JPEG or WebP in base64.")
    try:
        for start in range(found.end(), len(data_url), _PIECE_CHARACTERS):
            yield binascii.a2b_base64(data_url[start : start + _PIECE_CHARACTERS], strict_mode=True)
    except ValueError as problem:
        raise refused("The data URL holds something that is not base64.") from problem


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_BYTES:
        message = f"The file is larger than {MAX_BYTES} bytes."
        raise errors.BodyTooLarge(message, metadata={"param": "file", "allowed_bytes": str(MAX_BYTES)})


def shown(upload: upload_pb2.Upload, moment: Any) -> dict[str, Any]:
    """An upload as REST shows it; `moment` writes times."""
    words = {value: word for word, value in FORMATS.items()}
    return {
        "upload_id": upload.upload_id,
        "width": upload.image.width,
        "height": upload.image.height,
        "format": words[upload.format],
        "bytes": upload.size_bytes,
        "sha256": upload.sha256,
        "created_at": moment(upload.created_at),
        "expires_at": moment(upload.expires_at),
    }
