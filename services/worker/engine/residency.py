"""Which things stay in a bounded memory: reference counts, and of the rest the least used go first. Pure.

Of two that were used as often, the one used longer ago goes; and what was popular once loses to what is now: its uses
count from the level at which others were dropped last.
Source: LFU with dynamic aging, Arlitt et al. 2000, "Evaluating content management techniques for Web proxy caches".
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(slots=True)
class _Kept(Generic[Value]):
    value: Value
    size_bytes: int
    uses: int
    priority: int


class Residency(Generic[Value]):
    """Values by key, bounded by bytes; what is held is never dropped, so the bound may be passed while it is held."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: collections.OrderedDict[str, _Kept[Value]] = collections.OrderedDict()
        self._holders: collections.Counter[str] = collections.Counter()
        self._level = 0
        self.size_bytes = 0

    @property
    def keys(self) -> frozenset[str]:
        """What is there."""
        return frozenset(self._kept)

    def __contains__(self, key: str) -> bool:
        """Whether something is kept under the key; it does not count as used."""
        return key in self._kept

    @property
    def held_keys(self) -> frozenset[str]:
        """What somebody holds."""
        return frozenset(+self._holders)

    def get(self, key: str) -> Value | None:
        """What is kept under the key; it counts as used now."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        kept.uses += 1
        kept.priority = self._level + kept.uses
        self._kept.move_to_end(key)
        return kept.value

    def size_of(self, key: str) -> int:
        """Bytes of what is kept under the key; 0 where there is nothing."""
        return self._kept[key].size_bytes if key in self._kept else 0

    def put(self, key: str, value: Value, size_bytes: int) -> None:
        """Keep a value, and drop others for it where need be."""
        self.drop(key)
        self._kept[key] = _Kept(value, size_bytes, 1, self._level + 1)
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

    def make_room(self, size_bytes: int) -> bool:
        """Drop what nobody holds until so much more fits; False, and nothing dropped, where it cannot."""
        held_bytes = sum(kept.size_bytes for key, kept in self._kept.items() if key in self._holders)
        if held_bytes + size_bytes > self._limit_bytes:
            return False
        self._evict(self._limit_bytes - size_bytes)
        return True

    def clear(self) -> None:
        """Drop all that nobody holds."""
        self._evict(0)

    def drop(self, key: str) -> None:
        """Drop what is kept under the key, held or not; nothing where there is nothing."""
        if key in self._kept:
            self.size_bytes -= self._kept.pop(key).size_bytes

    def _evict(self, limit_bytes: int) -> None:
        while self.size_bytes > limit_bytes:
            free = [key for key in self._kept if key not in self._holders]
            if not free:
                return
            # The first of equals is the one used longest ago.
            key = min(free, key=lambda one: self._kept[one].priority)
            self._level = self._kept[key].priority
            self.drop(key)
