"""Who takes a job: whoever has room in a step before one whose step is full."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from imagineo.broker import subjects
from imagineo.broker.memory import MemoryBroker
from imagineo.ids import new_id
from imagineo.v1 import job_pb2

from services.worker import intake as module
from services.worker.intake import Intake
from tests.support.deadlines import SURELY_S

SUBJECT = subjects.job("tiny", job_pb2.LANE_FREE)
#: Two runs to a step, and two places more for those whose text is encoded or picture decoded.
SLOTS = 4


class Drawing:
    """Takes runs in hand and keeps them until it is told."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[bytes] = asyncio.Queue()
        self.drawn = asyncio.Event()

    async def run(self, delivery, *, on_drawn):
        self.taken.put_nowait(delivery.body)
        await self.drawn.wait()
        on_drawn()

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.taken.get(), SURELY_S)


@pytest.fixture
async def broker():
    made = MemoryBroker()
    await made.ensure_queue("tiny")
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def pulling(broker, *, slots=SLOTS):
    drawing = Drawing()
    intake = Intake(broker, drawing, slots=slots)
    await intake.add("tiny")
    pull = asyncio.create_task(intake.pull())
    try:
        yield drawing
    finally:
        drawing.drawn.set()
        pull.cancel()
        await asyncio.gather(pull, return_exceptions=True)


async def publish(broker, body):
    await broker.publish_job(SUBJECT, body, message_id=new_id("gen"))


async def test_a_worker_whose_step_is_full_leaves_the_job_to_one_that_has_room(broker, monkeypatch):
    monkeypatch.setattr(module, "AHEAD_PAUSE_S", SURELY_S)
    async with pulling(broker) as full:
        for body in (b"1", b"2"):
            await publish(broker, body)
            assert await full.next() == body
        await publish(broker, b"3")
        for _ in range(100):  # turns of the loop in which it would take the job
            await asyncio.sleep(0)
        async with pulling(broker) as idle:
            assert await idle.next() == b"3"
        assert full.taken.empty()


async def test_where_nobody_has_room_in_a_step_it_is_taken_all_the_same(broker):
    async with pulling(broker) as full:
        for body in (b"1", b"2", b"3", b"4"):
            await publish(broker, body)
            assert await full.next() == body
        await publish(broker, b"5")
        full.drawn.set()
        assert await full.next() == b"5"


async def test_a_worker_of_one_slot_asks_at_once(broker, monkeypatch):
    monkeypatch.setattr(module, "AHEAD_PAUSE_S", 2 * SURELY_S)
    async with pulling(broker, slots=1) as one:
        one.drawn.set()
        for body in (b"1", b"2", b"3"):
            await publish(broker, body)
            assert await one.next() == body
