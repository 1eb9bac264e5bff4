"""A LoRA file in memory: for each part of its base model two flat tensors, as the layers compute with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from services.worker.engine.lora_layers import Layout
from services.worker.engine.slots import Slot, SlotShape


@dataclass(frozen=True, slots=True)
class PartAdapter:
    """An adapter's matrices for one part of the base model: (down_size,) and (up_size,)."""

    layout: Layout
    down: Tensor
    up: Tensor
    slot: Slot | None = None
    """Where they lie on the device; None: they are in the host's memory."""

    @property
    def shape(self) -> SlotShape:
        """The slots that it fits."""
        return SlotShape(self.layout.down_size, self.layout.up_size, self.down.dtype)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA file in memory."""

    parts: Mapping[str, PartAdapter]
    matched_keys: int
    ignored_keys: int

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""
        return sum(part.shape.size_bytes for part in self.parts.values())
