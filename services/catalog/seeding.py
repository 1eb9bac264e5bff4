"""Puts base models and LoRAs from local files into the store and the database; a seeding may be repeated.

Files are stored by their content, before the row that names them; what a row named before stays in the store, for
workers that still draw with it. Run it from the command line, beside the serving catalog.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec
from imagineo.blobs import Blobs
from imagineo.errors import FailedPrecondition, NotFound
from imagineo.v1 import model_pb2 as pb

from services.catalog import lora_file
from services.catalog.base_modules import BaseModulesReader
from services.catalog.hub import HubModel, Weights
from services.catalog.manifest import MANIFEST_FILE, NEVER_SERVED, Manifest, read_manifest, read_parts
from services.catalog.repository import CatalogRepository, NewLora
from services.catalog.shelf import Shelf, stored_file

log = logging.getLogger(__name__)

#: A base model's file in the store, by its content.
_KEY: Final = "bases/{}"
_SUFFIXES: Final = frozenset({".json", ".safetensors", ".txt", ".model"})
_VARIANT: Final = re.compile(r"\.(?:fp16|bf16|non_ema|ema_only)(?=[.-])")
_TEXT_MAX_CHARACTERS: Final = 2_000


class LoraEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `loras.json`."""

    file: str
    name: str
    description: str = ""
    trigger_words: tuple[str, ...] = ()
    shared: bool = True
    """False: `seed` leaves it out unless it is told to add those too."""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("a LoRA's name must not be empty")
        if max(len(self.name), len(self.description)) > _TEXT_MAX_CHARACTERS:
            raise ValueError(f"a LoRA's texts have at most {_TEXT_MAX_CHARACTERS} characters")
        if Path(self.file).name != self.file:
            raise ValueError(f"'{self.file}' is not the name of a file beside loras.json")


class Seeder:
    """Adds models through the repository and the store that it is given."""

    def __init__(self, repository: CatalogRepository, blobs: Blobs) -> None:
        self._repository = repository
        self._blobs = blobs
        self._shelf = Shelf(repository, blobs)
        self._modules = BaseModulesReader(blobs)

    async def seed(self, directory: Path, *, with_unshared: bool = False) -> tuple[pb.BaseModel, list[pb.Lora]]:
        """Add `directory/base` and the LoRAs of `directory/loras/loras.json`, which need not be there.

        Raises:
            FailedPrecondition: if a file cannot be served; what came before it has been added.
        """
        base_model = await self.add_base_model(directory / "base")
        entries = await asyncio.to_thread(read_loras, directory / "loras" / "loras.json")
        # Lists show the newest first: the last entry is made first, so that they show the order of the file.
        loras = [
            await self.add_lora(directory / "loras" / entry.file, entry, base_model, renews=True)
            for entry in reversed(entries)
            if entry.shared or with_unshared
        ]
        return base_model, loras[::-1]

    async def add_base_model(
        self, directory: Path, hub_model: HubModel | None = None, /, **overrides: str
    ) -> pb.BaseModel:
        """Add a diffusers directory, or renew the base model of the same slug.

        Of a `hub_model` only those weights are fetched that the store lacks.

        Raises:
            FailedPrecondition: if it cannot be served.
        """
        manifest = await asyncio.to_thread(read_manifest, directory, **overrides)
        paths = await asyncio.to_thread(served_files, directory, manifest)
        weights = hub_model.weights if hub_model else {}
        files = []
        for path in paths:
            if hub_model and path in weights:
                files.append(await self._store_weights(hub_model, path, weights[path]))
            else:
                files.append(await self._store(directory / path, path=path))
        base_model = await self._repository.put_base_model(manifest, files)
        log.info("base model %s is %s, %d files", base_model.slug, base_model.base_model_id, len(files))
        return base_model

    async def add_lora(
        self,
        path: Path,
        entry: LoraEntry,
        base_model: pb.BaseModel,
        *,
        organization_id: str = "",
        renews: bool = False,
    ) -> pb.Lora:
        """Add a LoRA of a base model; with `renews`, the one that was added so by the same file name gets new contents.

        Raises:
            InvalidFile, LoraIncompatible: if the file is refused.
        """
        if not await asyncio.to_thread(path.is_file):
            raise FailedPrecondition(f"There is no LoRA file '{path}'.")
        modules = await self._modules.of(base_model)
        with tempfile.TemporaryDirectory(prefix="imagineo-lora-") as folder:
            # Judged, hashed and stored is a copy: the file may change meanwhile.
            copy = Path(await asyncio.to_thread(shutil.copy, path, folder))
            facts = await asyncio.to_thread(lora_file.inspect, copy, modules)
            file = stored_file(await asyncio.to_thread(_digest, copy), (await asyncio.to_thread(copy.stat)).st_size)
            new = NewLora(
                organization_id=organization_id,
                base_model_id=base_model.base_model_id,
                file_name=entry.file if renews else "",
                name=entry.name,
                description=entry.description,
                trigger_words=entry.trigger_words,
                facts=facts,
                file=file,
            )
            lora = await self._shelf.add(copy, new)
        log.info("LoRA %s is %s: %s naming, rank %d", entry.file, lora.model_id, facts.naming, facts.rank)
        return lora

    async def remove_lora(self, model_id: str) -> None:
        """Delete a LoRA, whosever it is; runs that were accepted with it can still be drawn for a while.

        Raises:
            NotFound: if there is none.
        """
        if not await self._repository.delete_lora("", model_id, whosever=True):
            raise NotFound(f"There is no LoRA '{model_id}'.")
        log.info("LoRA %s is removed", model_id)

    async def find_base(self, slug: str) -> pb.BaseModel:
        """Read the base model that a LoRA is for.

        Raises:
            NotFound: if there is none of this slug.
        """
        base_model = await self._repository.find_base_model_by_slug(slug)
        if base_model is None:
            raise NotFound(f"There is no base model '{slug}'. Add it first.")
        return base_model

    async def _store_weights(self, model: HubModel, path: str, told: Weights) -> pb.StoredFile:
        """Store a file of weights of the hub; one that the store has is not fetched."""
        file = pb.StoredFile(
            store_key=_KEY.format(told.sha256), sha256=told.sha256, size_bytes=told.size_bytes, path=path
        )
        if await self._has(file.store_key, told.size_bytes):
            log.info("%s is there already", path)
            return file
        source = await asyncio.to_thread(model.fetch, path)
        stored = await self._store(source, path=path)
        await asyncio.to_thread(source.unlink)  # one of them at a time takes disk
        if stored != file:
            raise FailedPrecondition(f"'{path}' is not what the hub said it is. Run the command again.")
        return stored

    async def _has(self, store_key: str, size_bytes: int) -> bool:
        present = await self._blobs.head(store_key)
        return present is not None and present.size_bytes == size_bytes

    async def _store(self, source: Path, *, path: str = "") -> pb.StoredFile:
        """Store a base model's file by its content, unless it is there; refuses one that changes meanwhile."""
        before = await asyncio.to_thread(source.stat)
        sha256 = await asyncio.to_thread(_digest, source)
        store_key = _KEY.format(sha256)
        is_missing = not await self._has(store_key, before.st_size)
        if is_missing:
            await self._blobs.put_file(store_key, source)
        after = await asyncio.to_thread(source.stat)
        if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, after.st_size, after.st_ino):
            if is_missing:  # else the object is another model's, and sound
                await self._blobs.delete(store_key)
            raise FailedPrecondition(f"'{source}' changed while it was stored. Run the command again.")
        return pb.StoredFile(store_key=store_key, sha256=sha256, size_bytes=before.st_size, path=path)


def read_loras(path: Path) -> list[LoraEntry]:
    """Read `loras.json`: a list of entries, or an object that holds it as `loras`; empty if there is no such file.

    Raises:
        FailedPrecondition: if it is not that.
    """
    if not path.is_file():
        return []
    try:
        content = msgspec.json.decode(path.read_bytes())
        entries: Any = content.get("loras", []) if isinstance(content, dict) else content
        return msgspec.convert(entries, list[LoraEntry])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as problem:
        raise FailedPrecondition(f"'{path}' cannot be read: {problem}.") from problem


def served_files(directory: Path, manifest: Manifest) -> list[str]:
    """Name the files of a base model's directory that workers need, relative to it, sorted.

    Left out are pickles and pictures, hidden files, single-file checkpoints at the top, folders that are no part of the
    pipeline, and a part's weights in another precision where the plain ones are there.

    Raises:
        FailedPrecondition: if a part's weights are there as pickles alone, or not at all.
    """
    parts = read_parts(directory)
    found = {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    }
    chosen = {
        name
        for name in found
        if Path(name).suffix in _SUFFIXES
        and not _is_variant(name, found)
        and not _is_checkpoint(name)
        and (not parts or "/" not in name or name.split("/")[0] in parts)
    }
    if manifest.upscaler:
        chosen.add(manifest.upscaler)
    weighted = {name.split("/")[0] for name in chosen if name.endswith(".safetensors") and "/" in name}
    pickled = {name.split("/")[0] for name in found if name.endswith(".bin") and "/" in name} - weighted
    denoiser = "transformer" if manifest.family in {"sd3", "flux"} else "unet"
    configured = {part for part in parts if f"{part}/config.json" in found}
    encoders = {part for part in parts if part.startswith("text_encoder")}
    needed = (pickled & parts if parts else pickled) | configured | encoders | {"vae", denoiser, "text_encoder"}
    needed -= NEVER_SERVED
    if missing := needed - weighted:
        raise FailedPrecondition(f"'{directory}' has no safetensors weights in: {', '.join(sorted(missing))}.")
    return sorted(chosen | ({MANIFEST_FILE} & found))


def _is_variant(name: str, found: set[str]) -> bool:
    """Whether it is of a precision of its own while its folder has the plain one, in one file or many."""
    folder, _, last = name.rpartition("/")
    if _VARIANT.search(last) is None:
        return False
    kind = ".index.json" if ".index." in last else ".safetensors"
    beside = (other.rpartition("/") for other in found)
    return any(of == folder and kind in plain and _VARIANT.search(plain) is None for of, _, plain in beside)


def _is_checkpoint(name: str) -> bool:
    return "/" not in name and name.endswith(".safetensors")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
