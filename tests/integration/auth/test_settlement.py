"""Reservations are closed by the durable events, over a real broker, and by the sweep."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from imagineo import errors
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.v1 import auth_service_pb2 as pb
from imagineo.v1 import event_pb2, generation_pb2
from imagineo.wire.times import timestamp

from services.auth.sweeper import Sweeper
from tests.integration.auth.conftest import check_for, run_id
from tests.integration.auth.test_service import usage
from tests.support.deadlines import SURELY_S

pytestmark = pytest.mark.integration


def event(run: str, organization_id: str, status: generation_pb2.Status) -> bytes:
    generation = generation_pb2.Generation(
        run_id=run, organization_id=organization_id, status=status, created_at=timestamp(datetime.now(UTC))
    )
    return event_pb2.GenerationChanged(event_id=f"evt_{run[4:]}", generation=generation).SerializeToString()


@pytest.fixture
async def broker(nats):
    connected = await JetStreamBroker.connect(nats.url, name="test")
    await connected.ensure_queue("starter")
    yield connected
    await connected.close()


async def eventually_used(auth, organization_id: str, wanted: tuple[int, int]) -> None:
    async with asyncio.timeout(SURELY_S):
        while True:
            stands = await usage(auth, organization_id)
            if (stands.images_used, stands.images_reserved) == wanted:
                return


async def test_events_settle_reservations_though_they_come_twice_and_in_any_order(auth, broker):
    organization_id, _, secret = await auth.new_key()
    done, failed, lost, waiting = (run_id() for _ in range(4))
    await auth.authorize(*[check_for(secret, reserve=run) for run in (done, failed, waiting)])
    ends = [
        (failed, generation_pb2.STATUS_FAILED, "failed"),
        (lost, generation_pb2.STATUS_COMPLETED, "completed"),
        (done, generation_pb2.STATUS_COMPLETED, "completed"),
    ]
    for turn in range(2):
        await broker.publish_event(subjects.event("completed", "x"), b"\xff", message_id=f"garbage-{done}-{turn}")
        for run, status, word in ends:
            body = event(run, organization_id, status)
            await broker.publish_event(subjects.event(word, run), body, message_id=f"{run}.{turn}")
    await eventually_used(auth, organization_id, (2, 1))
    closing = event(waiting, organization_id, generation_pb2.STATUS_EXPIRED)
    await broker.publish_event(subjects.event("expired", waiting), closing, message_id=waiting)
    await eventually_used(auth, organization_id, (2, 0))


async def test_the_sweep_closes_orphans_and_leaves_runs_that_live(auth, repository, database):
    organization_id, _, secret = await auth.new_key()
    orphan, queued, done = (run_id() for _ in range(3))
    await auth.authorize(*[check_for(secret, reserve=run) for run in (orphan, queued, done)])
    asked: list[set[str]] = []

    async def ask(run_ids):
        asked.append(set(run_ids))
        return {queued: generation_pb2.STATUS_QUEUED, done: generation_pb2.STATUS_COMPLETED}

    sweeper = Sweeper(repository, ask, None)
    assert await sweeper.sweep() == 0  # nobody is five minutes old
    assert asked == []
    assert await sweeper.sweep(orphan_age_s=0) == 2
    assert asked == [{orphan, queued, done}]
    stands = await usage(auth, organization_id)
    assert (stands.images_used, stands.images_reserved) == (1, 1)
    assert await database.fetchval("SELECT count(*) FROM auth.reservations") == 3
    await sweeper.sweep(closed_age_s=0)
    assert await database.fetchval("SELECT run_id FROM auth.reservations") == queued


async def test_the_sweep_pages_through_more_than_one_question_holds(repository, database):
    await database.execute(
        """
        INSERT INTO auth.reservations
        SELECT 'gen_' || n, 'org_x', '2026-01-01', 'held', now() - interval '10 minutes'
        FROM generate_series(1, 2500) AS n
        """
    )
    sizes = []

    async def ask(run_ids):
        sizes.append(len(run_ids))
        return dict.fromkeys(run_ids, generation_pb2.STATUS_RUNNING)

    assert await Sweeper(repository, ask, None).sweep() == 0
    assert sizes == [1000, 1000, 500]


async def test_while_status_is_away_nothing_is_released(auth, repository):
    organization_id, _, secret = await auth.new_key()
    await auth.authorize(check_for(secret, reserve=run_id()))

    async def ask(_run_ids):
        raise errors.Unavailable

    with pytest.raises(errors.Unavailable):
        await Sweeper(repository, ask, None).sweep(orphan_age_s=0)
    stands = await auth(pb.GetUsageRequest(organization_id=organization_id))
    assert stands.images_reserved == 1
