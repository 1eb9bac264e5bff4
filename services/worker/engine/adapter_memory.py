"""The memory of one device's adapters, whatever base model they are for: a tier on the device and one in the host.

On the device all slots together never pass the limit. A run pins its adapters all at once or none of them, in the order
of coming, so that no two runs wait for each other; while those in use leave no room it waits for runs that end. Where a
run's own adapters pass the limit it is told so. What no run uses stays as long as nobody needs the room, and goes first
where the device's memory runs out, for whatever reason.

In the host's memory lie files that were read ahead of their run; where the device is a GPU, those that were used too.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import gc
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import torch

from services.worker.engine import memory
from services.worker.engine.adapter import Adapter, PartAdapter
from services.worker.engine.base import AdapterFigures
from services.worker.engine.failures import OutOfMemory
from services.worker.engine.residency import Residency
from services.worker.engine.shared_loads import SharedLoads
from services.worker.engine.slots import SlotBank
from services.worker.engine.turns import Turn, Turns

_READERS: Final = 2
#: On a CPU the slots are in the host's memory: of what is read ahead of its run, this share of the limit is kept.
_AHEAD_SHARE: Final = 8
#: A slot that was let go is back after the step at hand; where it is not, a cycle of references keeps it.
_LINGER_S: Final = 1.0
_MOST_LINGERS: Final = 60

Reader = Callable[[], Adapter]


class Found(enum.Enum):
    """Where a run found one of its adapters."""

    DEVICE = "device"
    HOST = "host"
    READING = "reading"
    """On its way into the host's memory."""
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class _Placed:
    adapter: Adapter
    copy: Future[None]
    """Done when its slots are written."""


class _Blocked(Exception):
    """There is no room now."""

    def __init__(self, *, lingers: bool) -> None:
        super().__init__()
        self.lingers = lingers
        """By the accounts there is: somebody is still at work with a slot that was let go."""


class AdapterMemory:
    """Adapters by key. `hold`, `read` and `read_ahead` are called on the event loop, all else on any thread."""

    def __init__(self, device: torch.device, limit_bytes: int, host_limit_bytes: int = 8 << 30) -> None:
        """`host_limit_bytes` counts where the device has memory of its own."""
        self.device = device
        self._limit_bytes = limit_bytes
        self._turns = Turns()
        self._bank = SlotBank(device, limit_bytes, self._turns.look)
        self._placed: Residency[_Placed] = Residency(limit_bytes)
        self._host: Residency[Adapter] = Residency(
            limit_bytes // _AHEAD_SHARE if device.type == "cpu" else host_limit_bytes
        )
        self._reads: SharedLoads[Adapter] = SharedLoads()
        self._found = dict.fromkeys(Found, 0)
        # Few: reading takes turns with the steps, and a burst of new LoRAs must not crowd them out.
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="adapters")
        # Over both tiers: what gives memory back comes from any thread.
        self._lock = threading.RLock()

    @property
    def keys(self) -> frozenset[str]:
        """What is in memory."""
        with self._lock:
            return self._placed.keys | self._host.keys

    @property
    def held_keys(self) -> frozenset[str]:
        """What runs hold."""
        with self._lock:
            return self._placed.held_keys

    @property
    def figures(self) -> AdapterFigures:
        """How full it is, and where runs found what they needed."""
        with self._lock:
            found = {place.value: count for place, count in self._found.items()}
            return AdapterFigures(self._bank.allocated_bytes, self._limit_bytes, self._host.size_bytes, found)

    @contextlib.asynccontextmanager
    async def hold(self, readers: Mapping[str, Reader]) -> AsyncIterator[list[Adapter]]:
        """Have adapters on the device and keep them there while the block runs; a missing one is read by its function.

        Raises:
            OutOfMemory: if the device does not hold these adapters, be they alone.
        """
        for key in readers:
            self._found[self._where(key)] += 1
        read: dict[str, Adapter] = {}
        placed = None
        while placed is None:
            missing = [key for key in readers if key not in self._placed and key not in read]
            files = await asyncio.gather(*(self.read(key, readers[key]) for key in missing))
            read |= dict(zip(missing, files, strict=True))
            placed = await self._admitted(readers, read)
        adapters = [one.adapter for one in placed]
        try:
            await asyncio.gather(*(asyncio.shield(asyncio.wrap_future(one.copy)) for one in placed))
            read.clear()
            placed.clear()
            yield adapters
        finally:
            # Whoever keeps a reference keeps a slot.
            adapters.clear()
            with self._lock:
                for key in readers:
                    self._placed.let_go(key)
            self._turns.look()

    async def read(self, key: str, reader: Reader) -> Adapter:
        """An adapter in the host's memory, read once however many ask; the last who leaves ends it."""
        with self._lock:
            known = self._host.get(key)
        return known or await self._reads.get(key, lambda: self._read(key, reader))

    async def read_ahead(self, key: str, reader: Reader) -> None:
        """Have an adapter in memory that a run will hold soon."""
        if key not in self._placed:
            await self.read(key, reader)

    def take(self, read: Adapter) -> Adapter | None:
        """Slots on the device for an adapter, not written yet; None where those in use leave no room.

        Raises:
            torch.OutOfMemoryError: if the device itself has no room.
        """
        parts = {}
        for name, part in read.parts.items():
            slot = self._bank.take(part.shape)
            if slot is None:
                return None
            parts[name] = PartAdapter(part.layout, slot.down, slot.up, slot)
        return Adapter(parts, read.matched_keys, read.ignored_keys)

    @torch.inference_mode()
    def write(self, read: Adapter, taken: Adapter) -> None:
        """Copy an adapter into its slots."""
        for name, part in read.parts.items():
            taken.parts[name].down.copy_(part.down, non_blocking=True)
            taken.parts[name].up.copy_(part.up, non_blocking=True)

    def give_back(self) -> int:
        """Let go of all that no run uses; gives how many bytes of the device that frees at once."""
        with self._lock:
            self._placed.clear()
            if self.device.type == "cpu":
                self._host.clear()
            freed_bytes = self._bank.give_up()
        memory.free(self.device)
        return freed_bytes

    def _where(self, key: str) -> Found:
        if key in self._placed:
            return Found.DEVICE
        if key in self._host:
            return Found.HOST
        return Found.READING if key in self._reads else Found.DISK

    async def _read(self, key: str, reader: Reader) -> Adapter:
        read = await asyncio.get_running_loop().run_in_executor(self._readers, reader)
        with self._lock:
            self._host.put(key, read, read.size_bytes)
        return read

    async def _admitted(self, keys: Collection[str], read: Mapping[str, Adapter]) -> list[_Placed] | None:
        """Pin the adapters once there is room and it is their turn; None where one was dropped and must be read."""
        async with self._turns.turn() as turn:
            lingers = 0
            while True:
                try:
                    return self._pinned(keys, read)
                except _Blocked as problem:
                    is_lingering = problem.lingers
                if not is_lingering:
                    await turn.changed()
                    continue
                lingers += 1
                if lingers > _MOST_LINGERS:
                    raise OutOfMemory("What ended runs left of their LoRAs on the device does not go away.")
                await _returned(turn)

    def _pinned(self, keys: Collection[str], read: Mapping[str, Adapter]) -> list[_Placed] | None:
        with self._lock:
            missing = [key for key in keys if key not in self._placed]
            if any(key not in read for key in missing):
                return None
            for key in keys:
                self._placed.hold(key)
            try:
                self._place(keys, {key: read[key] for key in missing})
            except BaseException:
                for key in keys:
                    self._placed.let_go(key)
                raise
            return [one for key in keys if (one := self._placed.get(key)) is not None]

    def _place(self, keys: Collection[str], missing: Mapping[str, Adapter]) -> None:
        """Give each of these adapters its slots, or none of them; their bytes are copied on another thread."""
        missing_bytes = sum(one.size_bytes for one in missing.values())
        run_bytes = missing_bytes + sum(self._placed.size_of(key) for key in keys)
        if run_bytes > self._limit_bytes:
            raise OutOfMemory(
                f"The run's LoRAs take {run_bytes:,} bytes of the device; LoRAs get {self._limit_bytes:,} together.",
                is_even_alone=True,
            )
        if not self._placed.make_room(missing_bytes):
            raise _Blocked(lingers=False)
        taken = {key: self._taken(one) for key, one in missing.items()}
        for key, adapter in taken.items():
            copy = self._readers.submit(self.write, missing[key], adapter)
            self._placed.put(key, _Placed(adapter, copy), adapter.size_bytes)
            copy.add_done_callback(functools.partial(self._copied, key))

    def _taken(self, read: Adapter) -> Adapter:
        for is_last in (False, True):
            try:
                taken = self.take(read)
            except Exception as problem:
                if not memory.is_out_of_memory(problem):
                    raise
                if is_last:
                    raise OutOfMemory from problem
            else:
                if taken is None:
                    raise _Blocked(lingers=True)
                return taken
            self.give_back()
        raise OutOfMemory

    def _copied(self, key: str, copy: Future[None]) -> None:
        with self._lock:
            if copy.exception() is not None:
                self._placed.drop(key)
            elif self.device.type == "cpu":
                self._host.drop(key)


async def _returned(turn: Turn) -> None:
    """Wait until something came back; where nothing does, look for it in cycles that nobody refers to."""
    try:
        await asyncio.wait_for(turn.changed(), _LINGER_S)
    except TimeoutError:
        await asyncio.to_thread(gc.collect)
