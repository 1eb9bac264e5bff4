"""Objects in S3-like stores and in a local folder, through obstore.

What holds: an S3 put returns when the store has acknowledged it (large ones go up in parts and appear at the last), and
keeps its content type. A folder's put is synced by `folder.py`; a folder keeps no content type. Reads go in requests of
at most `_PIECE_BYTES`, each bounded by `timeout_s`, so a dead store is noticed however large the object is.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store, from_url

from imagineo.blobs import folder
from imagineo.blobs.port import OCTETS, BlobInfo, check_key, check_range
from imagineo.errors import FailedPrecondition, NotFound, Unavailable

if TYPE_CHECKING:  # obstore has these for type checkers alone
    from obstore.store import ClientConfig, RetryConfig, S3Config

_PIECE_BYTES: Final = 4 << 20


class ObstoreBlobs:
    """The port on an obstore store; with `root` set, the store is that local folder."""

    def __init__(self, store: ObjectStore, *, root: Path | None = None) -> None:
        self._store = store
        self._root = root

    @classmethod
    def from_url(cls, url: str, *, timeout_s: float = 10.0, **options: str) -> ObstoreBlobs:
        """Open `file:///folder` or `s3://bucket/prefix?endpoint=…`; nothing is connected yet.

        Options (arguments, or the URL's query) are obstore's S3 settings: `endpoint`, `region`, `access_key_id`, …;
        what is left out is read from the usual `AWS_…` variables by obstore. `authority_file` is ours: PEM, the
        authority of the store's certificate where it is not a public one.

        Raises:
            FailedPrecondition: if the authority's file cannot be read.
        """
        parts = urlsplit(url)
        if parts.scheme == "file":
            root = Path(unquote(parts.path))
            root.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(prefix=root), root=root)
        settings = {**dict(parse_qsl(parts.query)), **options}
        bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        return cls(_remote_store(parts.scheme, bare, settings, timeout_s))

    async def put(self, key: str, data: bytes | AsyncIterator[bytes], *, content_type: str) -> None:
        """Write an object whole."""
        check_key(key)
        with _troubles(key):
            if self._root is None:
                await obstore.put_async(self._store, key, data, attributes={"Content-Type": content_type})
            elif isinstance(data, bytes):
                await asyncio.to_thread(folder.put_bytes, self._root, key, data)
            else:
                await _put_pieces(self._root, key, data)

    async def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> None:
        """Write an object from a local file."""
        check_key(key)
        await asyncio.to_thread(path.stat)  # an absent source is the caller's trouble, not the store's
        with _troubles(key):
            if self._root is None:
                await obstore.put_async(self._store, key, path, attributes={"Content-Type": content_type})
            else:
                await asyncio.to_thread(folder.put_file, self._root, key, path)

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read bytes `start` to `end` (exclusive)."""
        return b"".join([piece async for piece in self.stream(key, start, end)])

    async def stream(self, key: str, start: int | None = None, end: int | None = None) -> AsyncIterator[bytes]:
        """Read the same in pieces."""
        check_key(key)
        position, last = check_range(start, end)
        etag: str | None = None
        while last is None or position < last:
            stop = position + _PIECE_BYTES if last is None else min(position + _PIECE_BYTES, last)
            piece, size_bytes, etag = await self._piece(key, position, stop, etag)
            last = size_bytes if last is None else min(last, size_bytes)
            position += len(piece)
            if piece:
                yield piece
        if end is not None and end == (start or 0):
            await self._size(key)

    async def fetch_file(self, key: str, path: Path) -> None:
        """Read an object into a local file."""
        staged = path.with_name(f"{path.name}#{secrets.randbits(60)}")
        try:
            with await asyncio.to_thread(staged.open, "xb") as file:
                async for piece in self.stream(key):
                    await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(staged.replace, path)
        finally:
            staged.unlink(missing_ok=True)

    async def head(self, key: str) -> BlobInfo | None:
        """Describe an object; None if there is none."""
        check_key(key)
        try:
            with _troubles(key):
                result = await obstore.get_async(self._store, key, options={"head": True})
        except NotFound:
            return None
        content_type = cast("Mapping[str, str]", result.attributes).get("Content-Type")
        return BlobInfo(
            size_bytes=result.meta["size"], etag=_bare_etag(result.meta["e_tag"]), content_type=content_type
        )

    async def delete(self, key: str) -> None:
        """Remove an object for good."""
        check_key(key)
        with contextlib.suppress(NotFound), _troubles(key):
            if self._root is None:
                await obstore.delete_async(self._store, key)
            else:
                await asyncio.to_thread(folder.delete, self._root, key)

    async def list(self, prefix: str) -> list[str]:
        """Name the objects below a folder, sorted."""
        with _troubles(prefix):
            pages = obstore.list(self._store, check_key(prefix) if prefix else None)
            return sorted([entry["path"] async for page in pages for entry in page])

    async def ping(self) -> None:
        """Return if the store answers: looks for an object that need not be there."""
        await self.head("ping")

    async def close(self) -> None:
        """Obstore closes its connections when they idle."""

    async def _piece(self, key: str, start: int, stop: int, etag: str | None) -> tuple[bytes, int, str | None]:
        """Read one piece with the object's size and tag; empty if `start` is at or past the end."""
        with _troubles(key):
            try:
                result = await obstore.get_async(
                    self._store, key, options={"range": (start, stop), **({"if_match": etag} if etag else {})}
                )
                data = bytes(await result.bytes_async())
            except BaseError:
                size_bytes = await self._size(key)
                if start < size_bytes:
                    raise
                return b"", size_bytes, etag
            return data, result.meta["size"], result.meta["e_tag"]

    async def _size(self, key: str) -> int:
        info = await self.head(key)
        if info is None:
            raise NotFound(f"There is no object '{key}' in the store.")
        return info.size_bytes


@contextlib.contextmanager
def _troubles(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as trouble:
        raise NotFound(f"There is no object '{key}' in the store.") from trouble
    except (BaseError, OSError) as trouble:
        raise Unavailable("The object store does not answer.") from trouble


async def _put_pieces(root: Path, key: str, pieces: AsyncIterator[bytes]) -> None:
    staged = await asyncio.to_thread(folder.Staged, root, key)
    try:
        async for piece in pieces:
            await asyncio.to_thread(staged.write, piece)
        await asyncio.to_thread(staged.commit)
    finally:
        staged.abort()


def _bare_etag(etag: str | None) -> str | None:
    return etag.removeprefix("W/").strip('"') if etag else None


def _remote_store(scheme: str, url: str, settings: dict[str, str], timeout_s: float) -> ObjectStore:
    plain_http = settings.get("endpoint", "").startswith("http://")
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=min(2.0, timeout_s)),
        "timeout": timedelta(seconds=timeout_s),
        "allow_http": plain_http,
    }
    if authority := settings.pop("authority_file", ""):
        try:
            client["root_certificate"] = Path(authority).read_bytes()
        except OSError as problem:
            raise FailedPrecondition(f"The object store's authority cannot be read: {problem}.") from problem
    retry: RetryConfig = {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=timeout_s / 2),
        "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(milliseconds=500), "base": 2},
    }
    if scheme in {"s3", "s3a"}:
        return S3Store.from_url(url, config=cast("S3Config", settings), client_options=client, retry_config=retry)
    return from_url(url, config=cast("Any", settings), client_options=client, retry_config=retry)
