"""Base models from the catalog and the store to a local directory that loads; there only when it is whole.

A directory is named by its content, so a changed base model gets a new one, and a crash leaves at most a draft, which
the next start removes: the folder belongs to one worker.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from imagineo.blobs.port import Blobs
from imagineo.errors import Internal
from imagineo.rpc.client import call
from imagineo.v1 import catalog_service_pb2 as catalog
from imagineo.v1 import model_pb2

from services.worker.engine.base import BaseModelFiles
from services.worker.fetched_file import DigestMismatch, fetch

log = logging.getLogger(__name__)

_CALL_TIMEOUT_S = 3.0


class BaseModels:
    """Finds and fetches the base models that this worker draws with."""

    def __init__(self, stub: Any, blobs: Blobs, folder: Path, slugs: tuple[str, ...]) -> None:
        self._stub = stub
        self._blobs = blobs
        self._folder = folder
        self._slugs = slugs
        self._digests: dict[str, str] = {}
        self._fetched: dict[str, tuple[Path, model_pb2.BaseModel]] = {}
        for draft in folder.glob(".*"):
            shutil.rmtree(draft, ignore_errors=True)

    async def wanted(self) -> list[model_pb2.BaseModel]:
        """The base models to draw with that the catalog knows now.

        Raises:
            Unavailable: if the catalog is away.
        """
        answer = await call(self._stub.ListBaseModels, catalog.ListBaseModelsRequest(), timeout_s=_CALL_TIMEOUT_S)
        return [base for base in answer.base_models if not self._slugs or base.slug in self._slugs]

    async def fetch(
        self, listed: model_pb2.BaseModel, *, on_file: Callable[[str], None] = lambda _: None
    ) -> BaseModelFiles:
        """Have a base model's directory on disk.

        Raises:
            Unavailable: if the catalog or the store is away.
            NotFound: if the store lacks one of its files.
            Internal: if a file's path or bytes are not what the catalog says.
        """
        request = catalog.GetBaseModelRequest(slug=listed.slug)
        base = (await call(self._stub.GetBaseModel, request, timeout_s=_CALL_TIMEOUT_S)).base_model
        digest = _digest(base)
        directory = self._folder / f"{base.slug}-{digest[:16]}"
        if not directory.is_dir():
            draft = self._folder / f".{directory.name}.{os.getpid()}"
            shutil.rmtree(draft, ignore_errors=True)
            for file in base.files:
                path = draft / _inside(file.path)
                path.parent.mkdir(parents=True, exist_ok=True)
                on_file(file.path)
                try:
                    await fetch(self._blobs, file.store_key, file.sha256, path)
                except DigestMismatch as problem:
                    raise Internal(f"The file '{file.path}' of '{base.slug}' is damaged in the store.") from problem
            draft.replace(directory)
        self._digests[base.slug] = digest
        self._fetched[base.slug] = (directory, base)
        return BaseModelFiles(
            slug=base.slug,
            directory=directory,
            family=base.family,
            native_px=base.native_px,
            upscales=base.sizing == model_pb2.SIZING_UPSCALE,
            upscaler=base.upscaler,
        )

    async def remove_if_damaged(self, slug: str) -> bool:
        """Look whether a fetched directory still is what the catalog says; one that is not goes, to be fetched anew."""
        if slug not in self._fetched:
            return False
        directory, base = self._fetched[slug]
        if await asyncio.to_thread(_is_sound, directory, base):
            return False
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        return True

    def digest_of(self, slug: str) -> str:
        """The digest over the files of a base model that was fetched; empty for another."""
        return self._digests.get(slug, "")


def _digest(base: model_pb2.BaseModel) -> str:
    lines = sorted(f"{file.path} {file.sha256}\n" for file in base.files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _is_sound(directory: Path, base: model_pb2.BaseModel) -> bool:
    try:
        for file in base.files:
            with (directory / _inside(file.path)).open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                    return False
    except OSError:
        return False
    return True


def _inside(path: str) -> PurePosixPath:
    """A path that stays inside its directory.

    Raises:
        Internal: for any other.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise Internal(f"The catalog names a file outside its base model: '{path[:100]}'.")
    return pure
