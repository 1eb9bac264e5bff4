"""What the broker in memory can do beyond the port: go away, forget, and live on a clock that is told."""

from __future__ import annotations

import pytest
from imagineo.broker import subjects
from imagineo.broker.memory import MemoryBroker
from imagineo.errors import Unavailable
from imagineo.v1.job_pb2 import LANE_FREE

SUBJECT = subjects.job("tiny", LANE_FREE)
QUEUE = subjects.queue("tiny", LANE_FREE)


class Clock:
    """Time as the test tells it."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


async def test_while_it_is_away_calls_fail_and_hints_are_lost():
    broker = MemoryBroker()
    await broker.publish_job(SUBJECT, b"job", message_id="gen_1")
    delivery = await broker.next_job(QUEUE)
    broker.disconnect()
    assert not broker.connected
    with pytest.raises(Unavailable):
        await broker.publish_job(SUBJECT, b"job", message_id="gen_2")
    with pytest.raises(Unavailable):
        await delivery.ack()
    with pytest.raises(Unavailable):
        await broker.next_job(QUEUE)
    assert await broker.job_exists(1, "gen_1") is None
    await broker.emit(SUBJECT, b"lost")
    broker.reconnect()
    await delivery.ack()
    assert await broker.job_exists(1, "gen_1") is False


async def test_a_lost_store_forgets_jobs_and_their_ids():
    broker = MemoryBroker()
    sequence = await broker.publish_job(SUBJECT, b"job", message_id="gen_1")
    broker.lose_store()
    assert await broker.job_exists(sequence, "gen_1") is False
    assert await broker.next_job(QUEUE) is None
    await broker.publish_job(SUBJECT, b"again", message_id="gen_1")
    assert (await broker.next_job(QUEUE)).body == b"again"


async def test_an_id_is_forgotten_after_two_minutes():
    clock = Clock()
    broker = MemoryBroker(clock=clock)
    first = await broker.publish_job(SUBJECT, b"job", message_id="gen_1")
    clock.now_s += 119
    assert await broker.publish_job(SUBJECT, b"job", message_id="gen_1") == first
    clock.now_s += 2
    assert await broker.publish_job(SUBJECT, b"job", message_id="gen_1") == first + 1


async def test_a_job_comes_again_eight_seconds_after_its_last_sign_of_progress():
    clock = Clock()
    broker = MemoryBroker(clock=clock)
    await broker.publish_job(SUBJECT, b"job", message_id="gen_1")
    delivery = await broker.next_job(QUEUE)
    clock.now_s += 7
    await delivery.in_progress()
    clock.now_s += 7.9
    assert await broker.next_job(QUEUE) is None
    clock.now_s += 0.2
    assert (await broker.next_job(QUEUE)).delivered_count == 2


async def test_a_reconnect_wakes_the_workers():
    broker = MemoryBroker()
    async with broker.wakeups("tiny") as wake:
        broker.disconnect()
        assert await wake.wait(0.01) is False
        broker.reconnect()
        assert await wake.wait(1) is True
