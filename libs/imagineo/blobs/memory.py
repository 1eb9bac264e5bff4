"""The object store that lives in the process: for tests and for a platform in one process. Nothing outlives it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from imagineo.blobs.port import OCTETS, BlobInfo, check_key, check_range
from imagineo.errors import NotFound, Unavailable

_PIECE_BYTES = 1 << 20


class MemoryBlobs:
    """A dict of objects with the port's manners; `away = True` makes it behave as a store that does not answer."""

    def __init__(self) -> None:
        self.away = False
        self._objects: dict[str, tuple[bytes, str]] = {}

    async def put(self, key: str, data: bytes | AsyncIterator[bytes], *, content_type: str) -> None:
        """Write an object whole."""
        check_key(key)
        await self._require_up()
        whole = data if isinstance(data, bytes) else b"".join([piece async for piece in data])
        await self._require_up()
        self._objects[key] = (whole, content_type)

    async def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> None:
        """Write an object from a local file."""
        await self.put(key, path.read_bytes(), content_type=content_type)  # noqa: ASYNC240  # a twin may block

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read bytes `start` to `end` (exclusive)."""
        first, last = check_range(start, end)
        return (await self._read(key))[first:last]

    async def stream(self, key: str, start: int | None = None, end: int | None = None) -> AsyncIterator[bytes]:
        """Read the same in pieces."""
        first, last = check_range(start, end)
        chosen = (await self._read(key))[first:last]
        for offset in range(0, len(chosen), _PIECE_BYTES):
            yield chosen[offset : offset + _PIECE_BYTES]

    async def fetch_file(self, key: str, path: Path) -> None:
        """Read an object into a local file."""
        path.write_bytes(await self._read(key))  # noqa: ASYNC240  # a twin may block

    async def head(self, key: str) -> BlobInfo | None:
        """Describe an object; None if there is none."""
        check_key(key)
        await self._require_up()
        if key not in self._objects:
            return None
        data, content_type = self._objects[key]
        return BlobInfo(size_bytes=len(data), etag=hashlib.sha256(data).hexdigest(), content_type=content_type)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        check_key(key)
        await self._require_up()
        self._objects.pop(key, None)

    async def list(self, prefix: str) -> list[str]:
        """Name the objects below a folder, sorted."""
        if prefix:
            check_key(prefix)
        await self._require_up()
        return sorted(key for key in self._objects if not prefix or key.startswith(prefix + "/"))

    async def ping(self) -> None:
        """Return if the store answers."""
        await self._require_up()

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def _read(self, key: str) -> bytes:
        check_key(key)
        await self._require_up()
        if key not in self._objects:
            raise NotFound(f"There is no object '{key}' in the store.")
        return self._objects[key][0]

    async def _require_up(self) -> None:
        await asyncio.sleep(0)  # a store's answer lets other tasks run
        if self.away:
            raise Unavailable("The object store does not answer.")
