"""The port: what every object store does for the services, and what a key may look like. It does no I/O."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

OCTETS: Final = "application/octet-stream"

_KEY: Final = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_KEY_MAX_CHARACTERS: Final = 512


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What the store knows about an object without reading it."""

    size_bytes: int
    etag: str | None
    """The store's own tag of this version, without quotes; it changes when the object is overwritten."""
    content_type: str | None = None
    """As it was put; None where the store keeps none (the local folder)."""


class Blobs(Protocol):
    """An object store. All methods may be called by any task of one event loop.

    Every method raises `errors.Unavailable` when the store is away, full or answers nonsense, after a bounded time for
    each request to it; and ValueError for a key that `check_key` refuses. Reads of an absent key raise
    `errors.NotFound`. A cancelled put leaves either the old object or the new one, never a mixture.
    """

    async def put(self, key: str, data: bytes | AsyncIterator[bytes], *, content_type: str) -> None:
        """Write an object whole: durable when this returns, and invisible until it is whole."""

    async def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> None:
        """Write an object from a local file, as `put` does, in bounded memory."""

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read bytes `start` to `end` (exclusive); what lies past the object's end is left out."""

    def stream(self, key: str, start: int | None = None, end: int | None = None) -> AsyncIterator[bytes]:
        """Read the same in pieces of at most some MiB, all of one version of the object.

        The first piece raises what `get` would; an object overwritten meanwhile raises `errors.Unavailable`.
        """

    async def fetch_file(self, key: str, path: Path) -> None:
        """Read an object into a local file, which appears only when it is whole."""

    async def head(self, key: str) -> BlobInfo | None:
        """Describe an object; None if there is none."""

    async def delete(self, key: str) -> None:
        """Remove an object for good; an absent one is no error."""

    async def list(self, prefix: str) -> list[str]:
        """Name the objects below a folder such as `images/org_1` (whole path segments), sorted; `""`: all."""

    async def ping(self) -> None:
        """Return if the store answers."""

    async def close(self) -> None:
        """Let go of connections."""


def check_key(key: str) -> str:
    """Return the key if it is relative, of plain characters, and free of empty, `.` and `..` segments.

    Raises:
        ValueError: otherwise.
    """
    if (
        len(key) > _KEY_MAX_CHARACTERS
        or _KEY.fullmatch(key) is None
        or any(segment in {".", ".."} for segment in key.split("/"))
    ):
        raise ValueError(f"not a store key: {key[:80]!r}")
    return key


def check_range(start: int | None, end: int | None) -> tuple[int, int | None]:
    """Return the range with a definite start.

    Raises:
        ValueError: if it is negative or ends before it starts.
    """
    first = start or 0
    if first < 0 or (end is not None and end < first):
        raise ValueError(f"not a byte range: {start} to {end}")
    return first, end
