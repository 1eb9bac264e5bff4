from __future__ import annotations

import asyncio

import pytest
from imagineo.broker import subjects
from imagineo.broker.memory import MemoryBroker
from imagineo.v1 import event_pb2, job_pb2

from services.worker.affinity import Affinity
from tests.support.deadlines import SURELY_S

JOB = job_pb2.Job(
    run_id="gen_1",
    base_model_slug="tiny",
    adapters=[job_pb2.Adapter(model_id="model_5", weight=0.8), job_pb2.Adapter(model_id="model_zero", weight=0)],
)


class Place:
    """One worker's affinity, a job of the queue in its hands, and what the other worker hears."""

    def __init__(self, broker, *, warm=(), running=0):
        self.now_s = 100.0
        self.broker = broker
        self.nudges = asyncio.Queue()
        self.affinity = Affinity(
            broker, "cold", warm_model_ids=lambda: warm, running_count=lambda: running, clock=lambda: self.now_s
        )

    async def hear(self, worker_id="warm", **changes):
        said = {
            "base_model_slugs": ["tiny"],
            "slots": 6,
            "running_run_ids": [],
            "warm_model_ids": ["model_5", "model_2"],
        }
        beat = event_pb2.WorkerBeat(worker_id=worker_id, **(said | changes))
        await self.affinity.on_beat(subjects.worker(worker_id), beat.SerializeToString())

    async def noted(self, subject, body):
        await self.affinity.on_nudge(subject, body)
        if body:
            self.nudges.put_nowait(subject)

    async def pulled(self):
        return await self.broker.next_job(subjects.queue("tiny", job_pb2.LANE_FREE))

    async def submitted(self, message_id="gen_1"):
        subject = subjects.job("tiny", job_pb2.LANE_FREE)
        await self.broker.publish_job(subject, JOB.SerializeToString(), message_id=message_id)
        return await self.pulled()


@pytest.fixture
async def broker():
    broker = MemoryBroker(ack_wait_s=8.0)
    await broker.ensure_queue("tiny")
    yield broker
    await broker.close()


async def test_a_cold_job_is_left_to_the_home_of_its_loras(broker):
    place = Place(broker)
    await broker.subscribe(subjects.nudge("warm"), lambda subject, _: place.nudges.put(subject))
    await place.hear()
    assert await place.affinity.passed_on(JOB, await place.submitted())
    assert await asyncio.wait_for(place.nudges.get(), SURELY_S) == subjects.nudge("warm")
    again = await place.pulled()
    assert again.delivered_count == 2
    assert not await place.affinity.passed_on(JOB, again)


@pytest.mark.parametrize(
    "beat",
    [
        {"base_model_slugs": ["other"]},
        {"slots": 3, "running_run_ids": ["gen_9"]},
        {"running_run_ids": ["gen_7", "gen_8", "gen_9"]},
        {"worker_id": "cold"},
    ],
    ids=["of another base", "full", "busier", "itself"],
)
async def test_a_worker_that_is_no_better_gets_nothing(broker, beat):
    place = Place(broker, running=1)
    await place.hear(**beat)
    assert not await place.affinity.passed_on(JOB, await place.submitted())


async def test_what_this_worker_holds_itself_it_draws(broker):
    place = Place(broker, warm=["model_5"])
    await place.hear()
    assert not await place.affinity.passed_on(JOB, await place.submitted())


async def test_a_worker_that_fell_silent_gets_nothing(broker):
    place = Place(broker)
    await place.hear()
    place.now_s += 6
    assert not await place.affinity.passed_on(JOB, await place.submitted())


async def test_no_more_is_passed_on_than_the_other_has_room_for_until_it_is_heard_again(broker):
    place = Place(broker, running=9)
    await broker.subscribe(subjects.EVERY_NUDGE, place.noted)
    await place.hear(slots=4)
    for number in range(50):
        await place.affinity.on_nudge(subjects.nudge("far"), f"model_of_others_{number}".encode())
    deliveries = [await place.submitted(f"gen_{number}") for number in range(4)]
    for one in deliveries[:2]:
        assert await place.affinity.passed_on(JOB, one)
        await asyncio.wait_for(place.nudges.get(), SURELY_S)
    assert not await place.affinity.passed_on(JOB, deliveries[2])
    await place.hear(slots=4)
    assert await place.affinity.passed_on(JOB, deliveries[3])


async def test_a_lora_that_everybody_asks_for_is_at_home_everywhere(broker):
    place = Place(broker, running=9)
    await place.hear()
    await place.affinity.on_nudge(subjects.nudge("warm"), b"model_5")
    assert not await place.affinity.passed_on(JOB, await place.submitted())
