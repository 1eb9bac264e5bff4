from __future__ import annotations

import asyncio

import pytest

from services.worker.engine.shared_loads import SharedLoads
from tests.support.deadlines import SURELY_S


class Source:
    def __init__(self):
        self.begun = 0
        self.has_begun, self.has_ended = asyncio.Event(), asyncio.Event()
        self.gate = asyncio.Event()

    async def load(self):
        self.begun += 1
        self.has_begun.set()
        try:
            await self.gate.wait()
        finally:
            self.has_ended.set()
        return self.begun


async def waiting(loads, source, count):
    tasks = [asyncio.create_task(loads.get("a", source.load)) for _ in range(count)]
    await source.has_begun.wait()
    return tasks


async def test_many_share_one_load_and_one_who_leaves_takes_nothing_away():
    loads, source = SharedLoads(), Source()
    first, *others = await waiting(loads, source, 5)
    first.cancel()
    source.gate.set()
    assert await asyncio.gather(*others) == [1] * 4
    assert "a" not in loads
    assert await loads.get("a", source.load) == 2


async def test_the_last_who_leaves_ends_it():
    loads, source = SharedLoads(), Source()
    tasks = await waiting(loads, source, 3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert "a" not in loads
    await asyncio.wait_for(source.has_ended.wait(), SURELY_S)
    assert source.begun == 1


async def test_a_failure_is_everybodys_and_the_next_tries_again():
    loads = SharedLoads()

    async def fail():
        raise ValueError("broken")

    endings = await asyncio.gather(*(loads.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert {type(one) for one in endings} == {ValueError}
    with pytest.raises(ValueError, match="broken"):
        await loads.get("a", fail)
