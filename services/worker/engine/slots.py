"""Places on the device for adapters' matrices: allocated once, written in place, used again; bounded by bytes.

A slot is a pair of flat tensors, all down and all up matrices of one part of an adapter, whose ranks are those of its
buckets: an adapter fits the slots of every other of its sizes, and while such come and go nothing is allocated, moved
or freed. All slots count, used or free: where one more would pass the limit, free ones of other shapes are given up
first, and where those in use leave no room there is none to be had. A slot is free again when nobody refers to it any
more, on whatever thread that happens: a step or a text encoder that is still at work with it is never written over.
"""

from __future__ import annotations

import collections
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SlotShape:
    """What a slot holds: as many numbers in its down and in its up tensor."""

    down_size: int
    up_size: int
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        """The memory of a slot."""
        return (self.down_size + self.up_size) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Slot:
    """One place: (down_size,) and (up_size,). Keep it as long as they are read."""

    down: Tensor
    up: Tensor


class SlotBank:
    """The slots of one device. All methods may be called on any thread."""

    def __init__(self, device: torch.device, limit_bytes: int, on_return: Callable[[], None] = lambda: None) -> None:
        """`on_return` is called for each slot that is free again, in the middle of anything: it must not wait."""
        self.limit_bytes = limit_bytes
        self._device = device
        self._on_return = on_return
        # The shape that was used longest ago first.
        self._free: collections.OrderedDict[SlotShape, list[tuple[Tensor, Tensor]]] = collections.OrderedDict()
        self._allocated_bytes = 0
        self._lock = threading.Lock()
        # What the garbage collector returns, in the middle of anything: it must not wait for the lock.
        self._returned: collections.deque[tuple[SlotShape, Tensor, Tensor]] = collections.deque()

    @property
    def allocated_bytes(self) -> int:
        """Device memory of all slots, used and free."""
        return self._allocated_bytes

    def take(self, shape: SlotShape) -> Slot | None:
        """A free slot, its numbers undefined; None where the slots in use leave no room for it.

        Raises:
            torch.OutOfMemoryError: if the device itself has no room.
        """
        with self._lock:
            self._collect()
            pairs = self._free.get(shape)
            if not pairs and not self._trim(self.limit_bytes - shape.size_bytes):
                return None
            down, up = pairs.pop() if pairs else self._allocated(shape)
            if shape in self._free:
                self._free.move_to_end(shape)
        slot = Slot(down, up)
        weakref.finalize(slot, self._return, shape, down, up).atexit = False
        return slot

    def give_up(self) -> int:
        """Let go of all free slots; gives how many bytes they took."""
        with self._lock:
            self._collect()
            before_bytes = self._allocated_bytes
            self._trim(0)
            return before_bytes - self._allocated_bytes

    def _allocated(self, shape: SlotShape) -> tuple[Tensor, Tensor]:
        down = torch.empty(shape.down_size, device=self._device, dtype=shape.dtype)
        up = torch.empty(shape.up_size, device=self._device, dtype=shape.dtype)
        self._allocated_bytes += shape.size_bytes
        return down, up

    def _return(self, shape: SlotShape, down: Tensor, up: Tensor) -> None:
        self._returned.append((shape, down, up))
        self._on_return()

    def _collect(self) -> None:
        while self._returned:
            shape, down, up = self._returned.popleft()
            self._free.setdefault(shape, []).append((down, up))

    def _trim(self, limit_bytes: int) -> bool:
        """Let go of free slots until all take no more than this; whether that was reached."""
        while self._allocated_bytes > limit_bytes and self._free:
            shape, pairs = next(iter(self._free.items()))
            if pairs:
                pairs.pop()
                self._allocated_bytes -= shape.size_bytes
            else:
                del self._free[shape]
        return self._allocated_bytes <= limit_bytes
