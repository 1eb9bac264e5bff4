"""One file from the store to the disk: verified by its digest, and there only when it is whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from pathlib import Path

from imagineo.blobs.port import Blobs


class DigestMismatch(Exception):
    """The store's bytes are not those that were promised."""


async def fetch(blobs: Blobs, key: str, sha256: str, path: Path) -> int:
    """Fetch `key` to `path` and return its length; a crash leaves at most a draft beside it.

    Raises:
        NotFound: if the store has no such object.
        Unavailable: if the store is away.
        DigestMismatch: if the bytes differ from `sha256`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}")
    try:
        await blobs.fetch_file(key, draft)
        size_bytes = await asyncio.to_thread(_verify, draft, sha256)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return size_bytes


def _verify(path: Path, sha256: str) -> int:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DigestMismatch(f"{path.name} has another digest")
    return path.stat().st_size
