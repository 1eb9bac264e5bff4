"""Takes a LoRA's file in pieces onto the local disk, judges it, and puts it on the shelf.

The bytes pass through in bounded memory; reading, hashing and judging run in threads. The local file is gone when the
call ends, however it ends; one that a killed process left is removed by a later start.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Final

from imagineo.errors import BodyTooLarge, InvalidFile, InvalidParameter, ModelNotFound, TooManyStreams, Unavailable
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import model_pb2

from services.catalog import lora_file
from services.catalog.base_modules import BaseModulesReader
from services.catalog.draft import check_draft
from services.catalog.repository import CatalogRepository, NewLora
from services.catalog.shelf import Shelf, stored_file

log = logging.getLogger(__name__)

#: Uploads at once: of one organization, and of all. Each holds at most one file's size on the local disk.
PER_ORGANIZATION_COUNT: Final = 2
ALL_COUNT: Final = 8
#: A sender that is silent for so long has gone.
SILENCE_S: Final = 30.0

_PREFIX: Final = "imagineo-lora-"
_LEFTOVER_AGE_S: Final = 3_600.0
_RETRY_AFTER_S: Final = 5.0


class LoraUploads:
    """Makes LoRAs of what is sent. Use it from one event loop.

    Args:
        folder: where files lie while they come; catalogs may share it.
        limit_bytes: the most bytes of a file.
    """

    def __init__(
        self,
        repository: CatalogRepository,
        shelf: Shelf,
        modules: BaseModulesReader,
        *,
        folder: Path,
        limit_bytes: int,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._repository = repository
        self._shelf = shelf
        self._modules = modules
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._silence_s = silence_s
        self._open: Counter[str] = Counter()

    async def create(self, requests: AsyncIterator[pb.CreateLoraRequest]) -> model_pb2.Lora:
        """Take one upload.

        Raises:
            Refused: the sender's fault; nothing is stored.
            Unavailable: if the store or the database is away, or uploads take all the room there is.
        """
        opening = await self._next(requests)
        if opening is None or not opening.opening.organization_id:
            raise InvalidParameter.of("organization_id", "in the first message")
        organization_id = opening.opening.organization_id
        with self._slot(organization_id):
            path = self._folder / f"{_PREFIX}{secrets.token_hex(16)}"
            try:
                with path.open("xb") as spool:  # not in a thread: a canceled call would leave it open
                    received = _Received(spool)
                    draft = await self._receive(requests, received)
                return await self._accept(path, received, draft, organization_id)
            finally:
                path.unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove what killed processes left in the folder; blocks."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S:
                    path.unlink()

    async def _accept(
        self, path: Path, received: _Received, draft: pb.LoraDraft, organization_id: str
    ) -> model_pb2.Lora:
        check_draft(draft)
        base_model = await self._repository.find_base_model(draft.base_model_id)
        if base_model is None:
            raise ModelNotFound(
                f"There is no base model '{draft.base_model_id[:64]}'.", metadata={"param": "base_model_id"}
            )
        modules = await self._modules.of(base_model)
        facts = await asyncio.to_thread(lora_file.inspect, path, modules, limit_bytes=self._limit_bytes)
        lora = await self._shelf.add(
            path,
            NewLora(
                organization_id=organization_id,
                base_model_id=base_model.base_model_id,
                name=draft.name,
                description=draft.description,
                trigger_words=draft.trigger_words,
                facts=facts,
                file=stored_file(received.sha256, received.size_bytes),
                sharing=draft.sharing,
                shared_organization_ids=draft.shared_organization_ids,
                sample_run_id=draft.sample_run_id,
            ),
        )
        log.info("LoRA %s is uploaded: %s naming, rank %d", lora.model_id, facts.naming, facts.rank)
        return lora

    async def _receive(self, requests: AsyncIterator[pb.CreateLoraRequest], received: _Received) -> pb.LoraDraft:
        while (request := await self._next(requests)) is not None:
            if request.HasField("draft"):
                return request.draft
            if received.size_bytes + len(request.chunk) > self._limit_bytes:
                allowed = {"allowed_bytes": str(self._limit_bytes), "param": "file"}
                raise BodyTooLarge(f"The file is larger than {self._limit_bytes} bytes.", metadata=allowed)
            await asyncio.to_thread(received.write, request.chunk)
        raise InvalidFile("The upload ended before the file was whole.", metadata={"param": "file"})

    async def _next(self, requests: AsyncIterator[pb.CreateLoraRequest]) -> pb.CreateLoraRequest | None:
        try:
            async with asyncio.timeout(self._silence_s):
                return await anext(requests, None)
        except TimeoutError as problem:
            raise Unavailable(f"Nothing came for {self._silence_s:g} seconds; send the file again.") from problem

    @contextlib.contextmanager
    def _slot(self, organization_id: str) -> Iterator[None]:
        if self._open[organization_id] >= PER_ORGANIZATION_COUNT:
            raise TooManyStreams(
                f"The account has {PER_ORGANIZATION_COUNT} uploads of models under way. Wait until one is done.",
                metadata={"limit": str(PER_ORGANIZATION_COUNT)},
                retry_after_s=_RETRY_AFTER_S,
            )
        if self._open.total() >= ALL_COUNT:
            raise Unavailable("As many models are being uploaded as there is room for.", retry_after_s=_RETRY_AFTER_S)
        self._open[organization_id] += 1
        try:
            yield
        finally:
            self._open[organization_id] -= 1
            self._open += Counter()  # forgets those that upload nothing


class _Received:
    """A file as it comes."""

    def __init__(self, spool: IO[bytes]) -> None:
        self._spool = spool
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """The digest of what has come."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append a piece; blocks."""
        self._spool.write(chunk)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)
