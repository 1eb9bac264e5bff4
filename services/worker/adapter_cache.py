"""LoRA files on the local disk, by digest: fetched once however many wait, verified, the least recently used dropped.

A file in use stays: `hold` counts references. A fetch that nobody waits for any more is given up. What somebody else
took away from the folder is fetched again; what is found in it at the start is verified when it is first used.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from imagineo.blobs.port import Blobs
from imagineo.errors import NotFound
from imagineo.v1 import model_pb2

from services.worker.engine.failures import AdapterIncompatible, AdapterMissing
from services.worker.engine.shared_loads import SharedLoads
from services.worker.fetched_file import DigestMismatch, fetch

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
#: Room for one more try where the first fetch met broken bytes.
_TRIES: Final = 2


class AdapterCache:
    """Bounded by bytes; all methods are called on one event loop."""

    def __init__(self, blobs: Blobs, folder: Path, limit_bytes: int) -> None:
        self._blobs = blobs
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._sizes: collections.OrderedDict[str, int] = collections.OrderedDict()
        self._unverified: set[str] = set()
        self._holders: collections.Counter[str] = collections.Counter()
        self._fetches: SharedLoads[None] = SharedLoads()
        self._checks: SharedLoads[None] = SharedLoads()
        self.hits = 0
        self.misses = 0
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.safetensors"), key=lambda one: one.stat().st_mtime):
            self._sizes[path.stem] = path.stat().st_size
            self._unverified.add(path.stem)
        for draft in folder.glob(".*"):
            draft.unlink(missing_ok=True)

    @property
    def size_bytes(self) -> int:
        """How much disk the files take."""
        return sum(self._sizes.values())

    @contextlib.asynccontextmanager
    async def hold(self, files: Iterable[model_pb2.StoredFile]) -> AsyncIterator[list[Path]]:
        """Have the files on disk, and keep them there while the block runs.

        Raises:
            AdapterMissing: if the store has one of them no more.
            AdapterIncompatible: if one's bytes are not those that were uploaded.
            Unavailable: if the store is away.
        """
        wanted = list(files)
        for file in wanted:
            self._holders[file.sha256] += 1
        try:
            await asyncio.gather(*(self._have(file) for file in wanted))
            yield [self._path(file.sha256) for file in wanted]
        finally:
            for file in wanted:
                self._holders[file.sha256] -= 1
            self._holders += collections.Counter()  # forgets those that nobody holds
            self._evict()

    async def _have(self, file: model_pb2.StoredFile) -> None:
        if not _DIGEST.fullmatch(file.sha256):
            raise AdapterMissing("The LoRA's file has no digest.")
        if file.sha256 in self._unverified:
            await self._checks.get(file.sha256, lambda: self._verify(file.sha256))
        if self._is_there(file.sha256):
            self.hits += 1
            self._sizes.move_to_end(file.sha256)
            return
        self.misses += 1
        await self._fetches.get(file.sha256, lambda: self._fetch(file))

    async def _fetch(self, file: model_pb2.StoredFile) -> None:
        for attempt in range(_TRIES):
            try:
                size_bytes = await fetch(self._blobs, file.store_key, file.sha256, self._path(file.sha256))
            except NotFound as problem:
                raise AdapterMissing from problem
            except DigestMismatch as problem:
                if attempt + 1 == _TRIES:
                    raise AdapterIncompatible("The LoRA's file is damaged in the store.") from problem
            else:
                self._sizes[file.sha256] = size_bytes
                self._evict()
                return

    def _is_there(self, sha256: str) -> bool:
        """Whether a file is on disk; one that somebody else took away is fetched again."""
        if sha256 in self._sizes and not self._path(sha256).exists():
            self._drop(sha256)
        return sha256 in self._sizes

    async def _verify(self, sha256: str) -> None:
        try:
            content = await asyncio.to_thread(self._path(sha256).read_bytes)
            is_sound = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest() == sha256)
        except OSError:
            is_sound = False
        if not is_sound:
            self._drop(sha256)
        # Only now: until then whoever else wants the file waits for this look at it.
        self._unverified.discard(sha256)

    def _evict(self) -> None:
        for sha256 in list(self._sizes):
            if self.size_bytes <= self._limit_bytes:
                return
            if sha256 not in self._holders:
                self._drop(sha256)

    def _drop(self, sha256: str) -> None:
        self._sizes.pop(sha256, None)
        self._path(sha256).unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.safetensors"
