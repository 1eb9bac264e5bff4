"""Which things stay in a bounded memory: reference counts, and the least recently used of the rest goes first. Pure."""

from __future__ import annotations

import collections
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Residency(Generic[Value]):
    """Values by key, bounded by bytes; what is held is never dropped, so the bound may be passed while it is held."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: collections.OrderedDict[str, tuple[Value, int]] = collections.OrderedDict()
        self._holders: collections.Counter[str] = collections.Counter()
        self.size_bytes = 0

    @property
    def keys(self) -> frozenset[str]:
        """What is there."""
        return frozenset(self._kept)

    @property
    def held_keys(self) -> frozenset[str]:
        """What somebody holds."""
        return frozenset(+self._holders)

    def get(self, key: str) -> Value | None:
        """What is kept under the key; it counts as used now."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: str, value: Value, size_bytes: int) -> None:
        """Keep a value, and drop others for it where need be."""
        self._drop(key)
        self._kept[key] = (value, size_bytes)
        self.size_bytes += size_bytes
        self._evict(self._limit_bytes)

    def hold(self, key: str) -> None:
        """Keep what is, or will be, under the key until it is let go as often as held."""
        self._holders[key] += 1

    def let_go(self, key: str) -> None:
        """Give one hold back."""
        self._holders[key] -= 1
        if self._holders[key] <= 0:
            del self._holders[key]
        self._evict(self._limit_bytes)

    def clear(self) -> None:
        """Drop all that nobody holds."""
        self._evict(0)

    def _evict(self, limit_bytes: int) -> None:
        for key in [one for one in self._kept if one not in self._holders]:
            if self.size_bytes <= limit_bytes:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        if key in self._kept:
            self.size_bytes -= self._kept.pop(key)[1]
