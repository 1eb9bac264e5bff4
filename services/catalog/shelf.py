"""The files of LoRAs in the store: each is there before a row names it, and goes some time after the last row.

A file is noted as loose before it is stored, and when a LoRA of it is deleted; the sweep looks at such files after a
grace, in which runs that were accepted before can still read them. Whatever dies at whatever point, nothing is left
for good and no row is without its file.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from imagineo.blobs import Blobs
from imagineo.errors import Unavailable
from imagineo.v1 import model_pb2 as pb

from services.catalog.repository import CatalogRepository, NewLora

log = logging.getLogger(__name__)

_SWEEP_EVERY_S: Final = 60.0
_BATCH: Final = 100


def stored_file(sha256: str, size_bytes: int) -> pb.StoredFile:
    """Where a LoRA's file lies: the same bytes are stored once."""
    return pb.StoredFile(store_key=f"loras/{sha256}.safetensors", sha256=sha256, size_bytes=size_bytes)


class Shelf:
    """Adds LoRAs together with their files, and takes away files that nobody names."""

    def __init__(self, repository: CatalogRepository, blobs: Blobs) -> None:
        self._repository = repository
        self._blobs = blobs

    async def add(self, path: Path, new: NewLora) -> pb.Lora:
        """Store the file at `path`, which is `new.file`, unless it is there, and add the LoRA.

        Raises:
            Unavailable: if the store or the database is away; nothing is left then that the sweep does not find.
        """
        await self._repository.note_loose_file(new.file.store_key)
        await self._store(path, new.file)
        async with self._repository.holding(new.file.store_key) as held:
            await self._store(path, new.file)  # a sweep may have taken it since
            return await held.put_lora(new)

    async def sweep(self, grace_s: float) -> int:
        """Delete the files that were loose for `grace_s` seconds and that nobody names; gives how many."""
        deleted = 0
        for store_key in await self._repository.list_loose_files(grace_s, _BATCH):
            async with self._repository.holding(store_key) as held:
                if not await held.is_named():
                    await self._blobs.delete(store_key)
                    deleted += 1
                await held.forget(grace_s)
        return deleted

    async def keep_sweeping(self, grace_s: float) -> None:
        """Sweep now and then until cancelled."""
        while True:
            try:
                if deleted := await self.sweep(grace_s):
                    log.info("%d LoRA files that nobody names are deleted", deleted)
            except Unavailable as away:
                log.warning("the sweep of LoRA files waits: %s", away)
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def _store(self, path: Path, file: pb.StoredFile) -> None:
        present = await self._blobs.head(file.store_key)
        if present is None or present.size_bytes != file.size_bytes:
            await self._blobs.put_file(file.store_key, path)
