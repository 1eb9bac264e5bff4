"""Preallocated places on the device for adapters' matrices, by layout; an adapter is written into one in place.

A slot is a row of two flat tensors, all down and all up matrices of one layout, whose ranks are those of its buckets.
So nothing is allocated, moved or freed while adapters come and go, and their addresses stay. Weights are the rows'
affair, not a slot's. A slot is free again when nobody refers to it any more, on whatever thread that happens: a step or
a text encoder that is still at work with it is never written over.
"""

from __future__ import annotations

import collections
import threading
import weakref
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from services.worker.engine.lora_layers import Layout

#: Slots of a block, where as many take no more than a part of the limit.
_BLOCK_SLOTS: Final = 16
_BLOCK_SHARE: Final = 8


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Slot:
    """One adapter's place: (down_size,) and (up_size,), views of its block. Keep it as long as the views are read."""

    down: Tensor
    up: Tensor


@dataclass(slots=True, eq=False)
class _Block:
    down: Tensor
    up: Tensor
    free: list[int] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return self.down.nbytes + self.up.nbytes

    @property
    def is_empty(self) -> bool:
        return len(self.free) == self.down.shape[0]


class SlotBank:
    """The slots of one base model."""

    def __init__(self, device: torch.device, dtype: torch.dtype, limit_bytes: int) -> None:
        self._device = device
        self._dtype = dtype
        self._limit_bytes = limit_bytes
        self._blocks: dict[Layout, list[_Block]] = {}
        self._lock = threading.Lock()
        # What the garbage collector returns, in the middle of anything: it must not wait for the lock.
        self._returned: collections.deque[tuple[Layout, _Block, int]] = collections.deque()

    @property
    def allocated_bytes(self) -> int:
        """Device memory of all blocks, used and free."""
        return sum(block.size_bytes for blocks in self._blocks.values() for block in blocks)

    def write(self, layout: Layout, down: Tensor, up: Tensor) -> Slot:
        """Copy an adapter's flat matrices into a free slot. On any thread."""
        with self._lock:
            slot = self._take(layout)
        slot.down.copy_(down, non_blocking=True)
        slot.up.copy_(up, non_blocking=True)
        return slot

    def _take(self, layout: Layout) -> Slot:
        self._collect()
        blocks = self._blocks.setdefault(layout, [])
        block = next((one for one in blocks if one.free), None)
        if block is None:
            block = self._made(layout)
            blocks.append(block)
        index = block.free.pop()
        slot = Slot(block.down[index], block.up[index])
        weakref.finalize(slot, self._returned.append, (layout, block, index)).atexit = False
        return slot

    def _collect(self) -> None:
        """Free what was returned; empty blocks go where there are more than the limit allows."""
        while self._returned:
            layout, block, index = self._returned.popleft()
            block.free.append(index)
            if block.is_empty and self.allocated_bytes > self._limit_bytes:
                self._blocks[layout].remove(block)

    def _made(self, layout: Layout) -> _Block:
        slot_bytes = (layout.down_size + layout.up_size) * self._dtype.itemsize
        count = max(1, min(_BLOCK_SLOTS, self._limit_bytes // (_BLOCK_SHARE * slot_bytes)))
        down = torch.zeros(count, layout.down_size, device=self._device, dtype=self._dtype)
        up = torch.zeros(count, layout.up_size, device=self._device, dtype=self._dtype)
        return _Block(down, up, list(range(count)))
