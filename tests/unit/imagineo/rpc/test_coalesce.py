"""The coalescer batches what is concurrent, delays nothing that is alone, and keeps failures apart."""

import asyncio

import pytest
from imagineo.rpc.coalesce import Coalescer


async def test_items_that_arrive_together_share_one_flush():
    batches = []

    async def flush(items):
        batches.append(items)
        return [item * 10 for item in items]

    coalescer = Coalescer(flush)
    results = await asyncio.gather(*(coalescer.submit(n) for n in range(5)))

    assert results == [0, 10, 20, 30, 40]
    assert batches == [[0, 1, 2, 3, 4]]


async def test_items_that_arrive_during_full_flight_wait_for_the_next_flush():
    batches, started, gate = [], asyncio.Event(), asyncio.Event()

    async def flush(items):
        batches.append(items)
        started.set()
        await gate.wait()
        return items

    coalescer = Coalescer(flush, max_in_flight=1)
    first = asyncio.create_task(coalescer.submit(1))
    await started.wait()
    later = [asyncio.create_task(coalescer.submit(n)) for n in (2, 3)]
    await asyncio.sleep(0)
    gate.set()

    assert await asyncio.gather(first, *later) == [1, 2, 3]
    assert batches == [[1], [2, 3]]


async def test_a_batch_is_bounded():
    sizes = []

    async def flush(items):
        sizes.append(len(items))
        return items

    coalescer = Coalescer(flush, max_items=4, max_in_flight=1)
    await asyncio.gather(*(coalescer.submit(n) for n in range(10)))

    assert sizes == [4, 4, 2]


async def test_one_items_exception_fails_only_it():
    async def flush(items):
        return [ValueError("three") if item == 3 else item for item in items]

    coalescer = Coalescer(flush)
    results = await asyncio.gather(*(coalescer.submit(n) for n in range(5)), return_exceptions=True)

    assert [r for r in results if not isinstance(r, ValueError)] == [0, 1, 2, 4]
    assert str(results[3]) == "three"


async def test_a_failing_flush_fails_its_batch_and_the_next_goes_on():
    calls = 0

    async def flush(items):
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("away")
        return items

    coalescer = Coalescer(flush)
    with pytest.raises(ConnectionError):
        await coalescer.submit(1)

    assert await coalescer.submit(2) == 2


async def test_a_cancelled_caller_leaves_its_batch_mates_unharmed():
    gate = asyncio.Event()
    started = asyncio.Event()

    async def flush(items):
        started.set()
        await gate.wait()
        return items

    coalescer = Coalescer(flush)
    impatient, patient = (asyncio.create_task(coalescer.submit(n)) for n in (1, 2))
    await started.wait()
    impatient.cancel()
    gate.set()

    assert await patient == 2
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_what_nobody_waits_for_any_more_is_not_done():
    batches, started, gate = [], asyncio.Event(), asyncio.Event()

    async def flush(items):
        batches.append(items)
        started.set()
        await gate.wait()
        return items

    coalescer = Coalescer(flush, max_items=2, max_in_flight=1)
    first = asyncio.create_task(coalescer.submit(1))
    await started.wait()
    queued = [asyncio.create_task(coalescer.submit(n)) for n in (2, 3, 4, 5)]
    await asyncio.sleep(0)
    for given_up in queued[:3]:
        given_up.cancel()
    gate.set()

    assert await asyncio.gather(first, queued[3]) == [1, 5]
    assert batches == [[1], [5]]


async def test_a_queue_of_cancelled_items_alone_flushes_nothing_and_goes_on():
    batches, started, gate = [], asyncio.Event(), asyncio.Event()

    async def flush(items):
        batches.append(items)
        started.set()
        await gate.wait()
        return items

    coalescer = Coalescer(flush, max_in_flight=1)
    first = asyncio.create_task(coalescer.submit(1))
    await started.wait()
    given_up = asyncio.create_task(coalescer.submit(2))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.set()
    await first

    assert await coalescer.submit(3) == 3
    assert batches == [[1], [3]]
