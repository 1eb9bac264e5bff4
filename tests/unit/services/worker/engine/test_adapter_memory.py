"""The adapters of a device stay within its limit whatever runs hold, wait, leave and run out of memory."""

from __future__ import annotations

import asyncio
import weakref

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.worker.engine import memory, slots
from services.worker.engine.adapter import Adapter, PartAdapter
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.failures import OutOfMemory
from services.worker.engine.lora_layers import Layout, Place

CPU = torch.device("cpu")
WAIT_S = 60
#: Adapters of very different sizes: ranks of the denoiser's layer and of the text encoder's, 64 bytes a rank.
RANKS = [(8, 0), (8, 8), (16, 0), (16, 64), (32, 8), (64, 0), (128, 16), (256, 256)]
LIMIT_BYTES = 300 * 64


def adapter_of(*ranks, value=1.0):
    parts = {}
    for name, rank in zip(("unet", "text_encoder"), ranks, strict=False):
        if rank:
            layout = Layout((Place(name, rank, 8, 8),))
            parts[name] = PartAdapter(layout, torch.full((rank * 8,), value), torch.full((rank * 8,), -value))
    return Adapter(parts, 2 * len(parts), 0)


def reader_of(number):
    return lambda: adapter_of(*RANKS[number], value=float(number))


def readers_of(*numbers):
    return {str(number): reader_of(number) for number in numbers}


def is_written(adapter, number):
    return all((part.down == number).all() and (part.up == -number).all() for part in adapter.parts.values())


class Meter:
    """What is really allocated: every tensor that the bank asked for and that still lives."""

    def __init__(self, patch, refused=lambda: False):
        self.bytes = self.most_bytes = self.count = 0
        self.inner = torch.empty
        self.refused = refused
        patch.setattr(slots.torch, "empty", self.empty)

    def empty(self, size, **options):
        if self.refused():
            raise torch.OutOfMemoryError
        made = self.inner(size, **options)
        self.count += 1
        self.bytes += made.nbytes
        self.most_bytes = max(self.most_bytes, self.bytes)
        weakref.finalize(made, self.gone, made.nbytes).atexit = False
        return made

    def gone(self, size_bytes):
        self.bytes -= size_bytes


class Traffic(RuleBasedStateMachine):
    """Runs that come with several adapters each, hold them, leave, and give up waiting."""

    @initialize()
    def begin(self):
        self.patch = pytest.MonkeyPatch()
        # A collection takes longer than all else here, and nothing may depend on one.
        self.patch.setattr(memory, "free", lambda _: None)
        self.runner = asyncio.Runner()
        self.runner.get_loop()
        self.meter = Meter(self.patch)
        self.memory = AdapterMemory(CPU, LIMIT_BYTES)
        self.runs = []

    @rule(numbers=st.lists(st.integers(0, len(RANKS) - 1), min_size=1, max_size=3, unique=True))
    def come(self, numbers):
        async def run():
            end = asyncio.Event()
            task = asyncio.create_task(self.draw(numbers, end))
            self.runs.append((numbers, task, end))
            await self.settle()

        self.runner.run(run())

    async def draw(self, numbers, end):
        async with self.memory.hold(readers_of(*numbers)) as held:
            assert all(is_written(one, number) for one, number in zip(held, numbers, strict=True))
            await end.wait()
            assert all(is_written(one, number) for one, number in zip(held, numbers, strict=True))

    async def settle(self):
        """Let whoever can move: reads and copies are on other threads, what waits for room stays."""
        for _ in range(4):
            await asyncio.gather(*(asyncio.wrap_future(one) for one in [self.memory._readers.submit(int)] * 2))
            for _ in range(10):
                await asyncio.sleep(0)

    @rule(which=st.integers(0, 9), leaves=st.booleans())
    def go(self, which, leaves):
        async def end():
            if self.runs:
                _, task, event = self.runs.pop(which % len(self.runs))
                event.set()
                if leaves:
                    task.cancel()
                    await asyncio.wait([task])
                elif not task.done():
                    # It may wait for others that hold what it needs; then it goes on when they leave.
                    self.runs.append((_, task, event))
            await self.settle()

        self.runner.run(end())

    @rule()
    def run_out(self):
        self.memory.give_back()

    @rule(number=st.integers(0, len(RANKS) - 1))
    def read_ahead(self, number):
        self.runner.run(self.memory.read_ahead(str(number), reader_of(number)))

    @invariant()
    def the_limit_holds(self):
        if hasattr(self, "meter"):
            assert self.meter.most_bytes <= LIMIT_BYTES
            assert self.meter.bytes == self.memory.figures.device_bytes

    def teardown(self):
        if hasattr(self, "runs"):
            try:
                self.runner.run(asyncio.wait_for(self.finish(), WAIT_S))
                assert self.memory.held_keys == frozenset()
                # A copy for a run that left may still be at work with its slot.
                self.memory._readers.shutdown()
                self.memory.give_back()
                assert self.meter.bytes == 0
            finally:
                self.runner.close()
                self.patch.undo()

    async def finish(self):
        for _, _, event in self.runs:
            event.set()
        for numbers, task, _ in self.runs:
            total_bytes = sum(adapter_of(*RANKS[number]).size_bytes for number in numbers)
            try:
                await task
            except OutOfMemory:
                assert total_bytes > LIMIT_BYTES
            else:
                assert total_bytes <= LIMIT_BYTES


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


async def test_a_run_whose_own_adapters_pass_the_limit_is_told_and_leaves_nothing(monkeypatch):
    meter = Meter(monkeypatch)
    memory = AdapterMemory(CPU, LIMIT_BYTES)
    with pytest.raises(OutOfMemory, match="19,200"):
        async with memory.hold(readers_of(0, 7)):
            pass
    assert (meter.bytes, memory.held_keys) == (0, frozenset())
    async with memory.hold(readers_of(0)) as (one,):
        assert is_written(one, 0)


async def test_a_run_waits_for_room_until_another_leaves_and_nobody_overtakes_it():
    memory = AdapterMemory(CPU, LIMIT_BYTES)
    order = []

    async def draw(number):
        async with memory.hold(readers_of(number)):
            order.append(number)

    async with memory.hold(readers_of(6)):
        waiting = [asyncio.create_task(draw(number)) for number in (4 + 2, 7 - 1)]
        await asyncio.gather(*waiting)
        large = asyncio.create_task(draw(3))
        await asyncio.sleep(0)
    await asyncio.wait_for(large, WAIT_S)
    assert order == [6, 6, 3]


async def draw(memory, number):
    async with memory.hold(readers_of(number)) as (one,):
        assert is_written(one, number)


async def test_a_slot_that_a_step_is_still_at_work_with_is_waited_for():
    memory = AdapterMemory(CPU, adapter_of(*RANKS[5]).size_bytes)
    async with memory.hold(readers_of(5)) as (held,):
        at_work = held.parts["unet"].slot
    del held
    waiting = asyncio.create_task(draw(memory, 2))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    assert (at_work.down == 5).all()
    del at_work
    await asyncio.wait_for(waiting, WAIT_S)


async def test_loras_of_one_size_that_come_and_go_in_a_full_memory_allocate_nothing(monkeypatch):
    size_bytes = adapter_of(8, 8).size_bytes
    memory, meter = AdapterMemory(CPU, 4 * size_bytes), Meter(monkeypatch)
    for number in range(200):
        async with memory.hold({str(number): lambda value=number: adapter_of(8, 8, value=float(value))}) as (one,):
            assert is_written(one, number)
        if number == 3:
            full = meter.count, meter.bytes
    assert (meter.count, meter.bytes) == full == (4 * 4, 4 * size_bytes)


async def test_where_the_device_runs_out_what_no_run_uses_goes_first(monkeypatch):
    memory = AdapterMemory(CPU, LIMIT_BYTES)
    meter = Meter(monkeypatch, refused=lambda: meter.bytes > 600)
    for number in (0, 2):
        await draw(memory, number)
    assert memory.keys == {"2"}


async def test_a_device_without_any_memory_is_told():
    patch = pytest.MonkeyPatch()
    Meter(patch, refused=lambda: True)
    memory = AdapterMemory(CPU, LIMIT_BYTES)
    with pytest.raises(OutOfMemory):
        async with memory.hold(readers_of(0)):
            pass
    patch.undo()
    async with memory.hold(readers_of(0)) as (one,):
        assert is_written(one, 0)


async def test_a_file_read_ahead_is_found_in_memory():
    memory = AdapterMemory(CPU, 8 * LIMIT_BYTES)
    await memory.read_ahead("2", reader_of(2))
    for _ in range(2):
        async with memory.hold({"2": lambda: pytest.fail("it is there")}) as (one,):
            assert is_written(one, 2)
        assert memory.figures.host_bytes == 0
    await memory.read_ahead("2", lambda: pytest.fail("it is there"))
    async with memory.hold(readers_of(0)):
        pass
    assert memory.figures.found == {"device": 1, "host": 1, "reading": 0, "disk": 1}


async def test_what_is_read_ahead_is_bounded():
    memory = AdapterMemory(CPU, LIMIT_BYTES)
    for number in range(len(RANKS)):
        await memory.read_ahead(str(number), reader_of(number))
        assert memory.figures.host_bytes <= LIMIT_BYTES // 8
    assert memory.figures.device_bytes == 0


async def test_beside_a_device_with_memory_of_its_own_the_host_keeps_what_it_is_told():
    memory = AdapterMemory(torch.device("meta"), 1, LIMIT_BYTES)  # the one such device that every machine has
    for number in range(6):
        await memory.read_ahead(str(number), reader_of(number))

    assert memory.keys == frozenset(map(str, range(6)))
    assert memory.figures.host_bytes > LIMIT_BYTES // 8
