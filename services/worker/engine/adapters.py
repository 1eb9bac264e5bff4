"""The LoRA files of one base model: read into the layout that the layers compute with, held while runs draw with them.

A file becomes, for the denoiser and for each text encoder, two flat tensors: all down matrices and all up matrices,
ranks padded to their bucket, the file's own scale multiplied into the ups. The weight is the row's: to activate one for
a run moves nothing. Where they lie, and for how long, is the affair of the device's `AdapterMemory`. `hold` and
`read_ahead` are called on the event loop; a load that fails leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from services.worker.engine.adapter import Adapter, PartAdapter
from services.worker.engine.adapter_file import LoraLayer, Rename, read_layers
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.adapter_names import PartModules
from services.worker.engine.base import AdapterReport, AdapterUse
from services.worker.engine.lora_layers import Layout, Place, RowLora, combined, rank_bucket


class AdapterStore:
    """The adapters of one base model."""

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        *,
        memory: AdapterMemory,
        dtype: torch.dtype,
        base_model_slug: str = "",
        rename: Rename | None = None,
    ) -> None:
        """`parts` are those that a LoRA may change, by their name in the pipeline, the denoiser first."""
        self.memory = memory
        self._names = {name: PartModules(part) for name, part in parts.items()}
        self._rename = rename
        self._dtype = dtype
        # Shared by the adapters that have it, and gone with the last: there may be as many as there are files.
        self._layouts: weakref.WeakValueDictionary[tuple[Place, ...], Layout] = weakref.WeakValueDictionary()
        # The same file is another adapter for another base model.
        self._prefix = f"{base_model_slug} "

    @property
    def sha256s(self) -> frozenset[str]:
        """Digests of the files in memory."""
        return self._digests(self.memory.keys)

    @property
    def held_sha256s(self) -> frozenset[str]:
        """Digests of those that a run holds."""
        return self._digests(self.memory.held_keys)

    @contextlib.asynccontextmanager
    async def hold(self, uses: Sequence[AdapterUse]) -> AsyncIterator[list[Adapter]]:
        """Have the adapters on the device, and keep them there while the block runs.

        Raises:
            AdapterIncompatible: if one does not fit the base model.
            AdapterMissing: if one's file is gone.
            OutOfMemory: if the device does not hold them.
        """
        places = {use.sha256: index for index, use in enumerate({use.sha256: use for use in uses}.values())}
        readers = {self._prefix + use.sha256: functools.partial(self.read, use.path) for use in uses}
        async with self.memory.hold(readers) as held:
            adapters = [held[places[use.sha256]] for use in uses]
            try:
                yield adapters
            finally:
                adapters.clear()

    async def read_ahead(self, use: AdapterUse) -> None:
        """Have a file in memory that a run will hold soon.

        Raises:
            AdapterIncompatible: if it does not fit the base model.
            AdapterMissing: if the file is gone.
        """
        await self.memory.read_ahead(self._prefix + use.sha256, functools.partial(self.read, use.path))

    def read(self, path: Path) -> Adapter:
        """Read a file into the bank's layout, in the host's memory. On any thread.

        Raises:
            AdapterIncompatible: if it does not fit the base model.
            AdapterMissing: if the file is gone.
        """
        with torch.inference_mode():
            file = read_layers(path, self._names, self._rename)
            laid = {part: self._lay(layers) for part, layers in file.parts.items() if layers}
        return Adapter(laid, file.matched_keys, file.ignored_keys)

    def _digests(self, keys: frozenset[str]) -> frozenset[str]:
        return frozenset(key.removeprefix(self._prefix) for key in keys if key.startswith(self._prefix))

    def _lay(self, layers: Mapping[str, LoraLayer]) -> PartAdapter:
        places = tuple(
            Place(module, rank_bucket(layer.rank), layer.down[0].numel(), layer.up.shape[0])
            for module, layer in sorted(layers.items())
        )
        layout = self._layouts.setdefault(places, Layout(places))
        down = torch.zeros(layout.down_size, dtype=self._dtype)
        up = torch.zeros(layout.up_size, dtype=self._dtype)
        for place, downs, ups in zip(places, layout.downs(down[None]), layout.ups(up[None]), strict=True):
            layer = layers[place.module]
            downs[0, : layer.rank] = layer.down.flatten(1)
            ups[0, : layer.rank] = layer.up.flatten(1).T.float() * layer.scale
        if self.memory.device.type == "cuda":
            down, up = down.pin_memory(), up.pin_memory()
        return PartAdapter(layout, down, up)


def activate(part: str, adapters: Sequence[Adapter], uses: Sequence[AdapterUse]) -> RowLora | None:
    """What a run's rows carry in one part: each adapter by its weight; None where there is nothing to add."""
    weights: dict[str, float] = {}
    parts: dict[str, PartAdapter] = {}
    for adapter, use in zip(adapters, uses, strict=True):
        if part in adapter.parts:
            weights[use.sha256] = weights.get(use.sha256, 0.0) + use.weight
            parts[use.sha256] = adapter.parts[part]
    rows = [
        RowLora(parts[sha256].layout, parts[sha256].down, parts[sha256].up, weight, parts[sha256].slot)
        for sha256, weight in weights.items()
        if weight != 0
    ]
    name = tuple(sorted((sha256, weight) for sha256, weight in weights.items() if weight != 0))
    return replace(combined(rows), name=name) if rows else None


def reports(adapters: Sequence[Adapter], uses: Sequence[AdapterUse]) -> tuple[AdapterReport, ...]:
    """How many tensors of each LoRA were applied."""
    return tuple(
        AdapterReport(use.model_id, use.weight, adapter.matched_keys, adapter.ignored_keys)
        for adapter, use in zip(adapters, uses, strict=True)
    )
