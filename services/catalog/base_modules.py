"""Which modules a base model has, and the shapes of their weights: all that a LoRA is held against.

It reads the headers of the stored safetensors files, never the weights, and remembers them by the files' digests.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from imagineo.blobs import Blobs
from imagineo.errors import FailedPrecondition, NotFound
from imagineo.lora_names import ModuleNames
from imagineo.v1 import model_pb2 as pb

from services.catalog.original_names import original_shapes

_LENGTH_BYTES: Final = 8
_HEADER_MAX_BYTES: Final = 32 << 20
_KEPT_COUNT: Final = 8
#: Tables of vectors, which no LoRA layer stands on.
_TABLES: Final = re.compile(r"(?:token_embedding|position_embedding|embed_tokens|shared|relative_attention_bias)$")

#: A base model's parts, by the folder that holds them.
PARTS: Final = {
    "unet": "denoiser",
    "transformer": "denoiser",
    "text_encoder": "text_encoder",
    "text_encoder_2": "text_encoder_2",
    "text_encoder_3": "text_encoder_3",
}

Shapes = Mapping[str, tuple[int, ...]]


class PartModules(ModuleNames):
    """The modules of one part, and their shapes."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = dict(shapes)
        """The weight of each: (outputs, inputs), or (outputs, inputs, height, width) of a convolution."""
        super().__init__(self.shapes)


class BaseModules:
    """The parts of one base model."""

    def __init__(self, name: str, shapes: Mapping[str, Shapes]) -> None:
        self.name = name
        denoiser = shapes.get("denoiser", {})
        known = {**shapes, "denoiser": {**original_shapes(denoiser), **denoiser}}
        self._parts = {part: PartModules(found) for part, found in known.items()}
        self._absent = PartModules({})

    def __getitem__(self, part: str) -> PartModules:
        return self._parts.get(part, self._absent)


class BaseModulesReader:
    """Reads base models out of the store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._known: OrderedDict[tuple[str, ...], dict[str, dict[str, tuple[int, ...]]]] = OrderedDict()

    async def of(self, base_model: pb.BaseModel) -> BaseModules:
        """The modules of a base model.

        Raises:
            FailedPrecondition: if its files are not there or hold no weights.
            Unavailable: if the store is away.
        """
        files = [file for file in base_model.files if _part_of(file.path) and file.path.endswith(".safetensors")]
        key = tuple(f"{file.path} {file.sha256}" for file in files)
        if key not in self._known:
            self._known[key] = await self._read(base_model, files)
            while len(self._known) > _KEPT_COUNT:
                self._known.popitem(last=False)
        return BaseModules(base_model.name, self._known[key])

    async def _read(
        self, base_model: pb.BaseModel, files: list[pb.StoredFile]
    ) -> dict[str, dict[str, tuple[int, ...]]]:
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for file in files:
            try:
                shapes = await self._shapes(file.store_key)
            except (NotFound, ValueError) as problem:
                raise FailedPrecondition(
                    f"The file '{file.path}' of the base model '{base_model.name}' cannot be read, so no LoRA can be "
                    "held against it."
                ) from problem
            found.setdefault(_part_of(file.path), {}).update(shapes)
        if not found.get("denoiser"):
            raise FailedPrecondition(f"The base model '{base_model.name}' has no weights that a LoRA could adapt.")
        return found

    async def _shapes(self, store_key: str) -> dict[str, tuple[int, ...]]:
        length = int.from_bytes(await self._blobs.get(store_key, 0, _LENGTH_BYTES), "little")
        if length > _HEADER_MAX_BYTES:
            raise ValueError("its header is too long")
        raw = await self._blobs.get(store_key, _LENGTH_BYTES, _LENGTH_BYTES + length)
        return await asyncio.to_thread(_weights, raw)


def _part_of(path: str) -> str:
    return PARTS.get(path.partition("/")[0], "")


def _weights(raw: bytes) -> dict[str, tuple[int, ...]]:
    """The shapes of the layers that a LoRA may stand on, by module.

    Raises:
        ValueError: if the header is not one of a safetensors file.
    """
    entries = msgspec.json.decode(raw, type=dict[str, dict[str, Any]])  # its errors are ValueErrors
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in entries.items():
        module, _, last = name.rpartition(".")
        shape = entry.get("shape", ())
        if last == "weight" and module and len(shape) in {2, 4} and _TABLES.search(module) is None:
            shapes[module] = tuple(int(dimension) for dimension in shape)
    return shapes
