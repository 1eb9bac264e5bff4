"""LoRA files in memory, in the layout that the layers compute with: loaded once however many wait, bounded by bytes.

A file becomes, for the UNet and for the text encoder, two flat tensors: all down matrices and all up matrices, ranks
padded to their bucket, the file's own scale multiplied into the ups. They are written into a slot on the device; where
that is a GPU, the host's memory keeps them too. The weight is the row's: to activate one for a run moves nothing.
Reading happens in threads of its own, never on the step loop; a load that fails leaves nothing behind. All methods of
`AdapterStore` are called on the event loop, where they do not say otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from services.worker.engine.adapter_file import LoraLayer, ModuleNames, Rename, read_layers
from services.worker.engine.base import AdapterReport, AdapterUse
from services.worker.engine.lora_layers import Layout, Place, RowLora, combined, rank_bucket
from services.worker.engine.residency import Residency
from services.worker.engine.slots import Slot, SlotBank

_READERS: Final = 2


@dataclass(frozen=True, slots=True)
class PartAdapter:
    """An adapter's matrices for one part of the base model: (down_size,) and (up_size,)."""

    layout: Layout
    down: Tensor
    up: Tensor
    slot: Slot | None = None
    """Where they lie on the device; None: they are in the host's memory."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA file in memory."""

    parts: Mapping[str, PartAdapter]
    matched_keys: int
    ignored_keys: int

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""
        return sum(part.down.nbytes + part.up.nbytes for part in self.parts.values())


class AdapterStore:
    """The adapters of one base model."""

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        *,
        device: torch.device,
        dtype: torch.dtype,
        limit_bytes: int,
        rename: Rename | None = None,
    ) -> None:
        """`parts` are those that a LoRA may change, by their name in the pipeline, the denoiser first."""
        self._names = {name: ModuleNames(part) for name, part in parts.items()}
        self._rename = rename
        self._device = device
        self._dtype = dtype
        self._layouts: dict[tuple[Place, ...], Layout] = {}
        self._bank = SlotBank(device, dtype, limit_bytes)
        self._residency: Residency[Adapter] = Residency(limit_bytes)
        # On a CPU the slots are in the host's memory already.
        self._host: Residency[Adapter] = Residency(limit_bytes if device.type != "cpu" else 0)
        self._loads: dict[str, asyncio.Task[Adapter]] = {}
        # Few: reading takes turns with the steps, and a burst of new LoRAs must not crowd them out.
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="adapters")

    @property
    def sha256s(self) -> frozenset[str]:
        """Digests of the files in memory."""
        return self._residency.keys | self._host.keys

    @property
    def held_sha256s(self) -> frozenset[str]:
        """Digests of those that a run holds."""
        return self._residency.held_keys

    @property
    def size_bytes(self) -> int:
        """How much memory they take."""
        return self._residency.size_bytes

    @contextlib.asynccontextmanager
    async def hold(self, uses: Sequence[AdapterUse]) -> AsyncIterator[list[Adapter]]:
        """Have the adapters in memory, and keep them there while the block runs.

        Raises:
            AdapterIncompatible: if one does not fit the base model.
        """
        for use in uses:
            self._residency.hold(use.sha256)
        try:
            yield await asyncio.gather(*(self._have(use) for use in uses))
        finally:
            for use in uses:
                self._residency.let_go(use.sha256)

    async def _have(self, use: AdapterUse) -> Adapter:
        known = self._residency.get(use.sha256)
        if known is not None:
            return known
        task = self._loads.get(use.sha256)
        if task is None:
            task = asyncio.create_task(self._load(use.sha256, use.path), name=f"load {use.sha256[:12]}")
            self._loads[use.sha256] = task
            task.add_done_callback(lambda done: self._loaded(use.sha256, done))
        # One run that is cancelled does not take the adapter away from the others that wait for it.
        return await asyncio.shield(task)

    def _loaded(self, sha256: str, task: asyncio.Task[Adapter]) -> None:
        self._loads.pop(sha256, None)
        if not task.cancelled():
            task.exception()  # whoever waits meets it; with nobody waiting it is no news

    async def _load(self, sha256: str, path: Path) -> Adapter:
        loop = asyncio.get_running_loop()
        read = self._host.get(sha256)
        if read is None:
            read = await loop.run_in_executor(self._readers, self.read, path)
            self._host.put(sha256, read, read.size_bytes)
        adapter = await loop.run_in_executor(self._readers, self.place, read)
        self._residency.put(sha256, adapter, adapter.size_bytes)
        return adapter

    def read(self, path: Path) -> Adapter:
        """Read a file into the bank's layout, in the host's memory. On any thread.

        Raises:
            AdapterIncompatible: if it does not fit the base model.
        """
        with torch.inference_mode():
            file = read_layers(path, self._names, self._rename)
            laid = {part: self._lay(layers) for part, layers in file.parts.items() if layers}
        return Adapter(laid, file.matched_keys, file.ignored_keys)

    @torch.inference_mode()
    def place(self, read: Adapter) -> Adapter:
        """Write an adapter into slots on the device. On any thread."""
        parts = {}
        for name, part in read.parts.items():
            slot = self._bank.write(part.layout, part.down, part.up)
            parts[name] = PartAdapter(part.layout, slot.down, slot.up, slot)
        return Adapter(parts, read.matched_keys, read.ignored_keys)

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
        if self._device.type == "cuda":
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
    return combined(rows) if rows else None


def reports(adapters: Sequence[Adapter], uses: Sequence[AdapterUse]) -> tuple[AdapterReport, ...]:
    """How many tensors of each LoRA were applied."""
    return tuple(
        AdapterReport(use.model_id, use.weight, adapter.matched_keys, adapter.ignored_keys)
        for adapter, use in zip(adapters, uses, strict=True)
    )
