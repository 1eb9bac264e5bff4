"""Postgres, NATS and status itself go away under load: what was answered stays, and all heals by itself."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from imagineo import errors
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.postgres.migrations import migrate
from imagineo.postgres.pool import Database
from imagineo.v1 import error_reason_pb2, generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from tests.integration.status.conftest import MIGRATIONS, outcome_of, pull_jobs, replica, say, submission
from tests.support import servers
from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S

pytestmark = pytest.mark.integration


@pytest.fixture
def own_nats():
    with servers.nats_server() as server:
        yield server


@pytest.fixture(scope="module")
def own_postgres():
    with servers.postgres_server() as server:
        dsn = server.new_database()
        migrate(dsn, "status", MIGRATIONS)
        yield server, dsn


async def test_jobs_of_a_broker_that_lost_its_store_are_published_again(status_dsn, own_nats, tmp_path):
    async with replica(status_dsn, own_nats.url, tmp_path) as status:
        broker = await JetStreamBroker.connect(own_nats.url, name="test")
        run_ids = [answer.run_id for answer in await status.accept(*(submission() for _ in range(20)))]
        await publish(status, broker, run_ids)
        await asyncio.to_thread(own_nats.kill)
        own_nats.lose_store()
        await asyncio.to_thread(own_nats.start)
        async with asyncio.timeout(STARTED_WITHIN_S):
            await pull_jobs(broker, run_ids)
        await broker.close()


async def publish(status, broker, run_ids):
    """Publish as the gateway does."""
    jobs = []
    for run_id in run_ids:
        job = submission(run_id).job
        sequence = await broker.publish_job("imagineo.v1.jobs.tiny.free", job.SerializeToString(), message_id=run_id)
        jobs.append(pb.Published(run_id=run_id, stream_sequence=sequence))
    await status(pb.MarkPublishedRequest(published=jobs))


async def test_accepting_goes_on_without_a_broker_and_jobs_are_published_once_it_is_there(
    status_dsn, own_nats, tmp_path
):
    async with replica(status_dsn, own_nats.url, tmp_path) as status:
        await asyncio.to_thread(own_nats.kill)
        answers = await status.accept(*(submission() for _ in range(50)))
        assert not any(answer.HasField("error") for answer in answers)
        claim = await status.claim(answers[0].run_id)
        assert claim.verdict == pb.CLAIM_VERDICT_GRANTED
        await asyncio.to_thread(own_nats.start)
        broker = await JetStreamBroker.connect(own_nats.url, name="test")
        async with asyncio.timeout(STARTED_WITHIN_S):
            await pull_jobs(broker, [answer.run_id for answer in answers[1:]])
        await broker.close()


async def test_outcomes_that_came_while_status_was_down_are_applied_at_its_start(status_dsn, nats, broker, tmp_path):
    async with replica(status_dsn, nats.url, tmp_path) as status:
        run_ids = [answer.run_id for answer in await status.accept(*(submission() for _ in range(30)))]
        await asyncio.gather(*(status.claim(run_id) for run_id in run_ids))
    await asyncio.gather(*(say(broker, outcome_of(run_id, 1)) for run_id in run_ids))
    async with replica(status_dsn, nats.url, tmp_path) as status:
        for run_id in run_ids:
            done = await status.until(run_id, lambda it: it.status in (4, 5, 6, 7))
            assert done.status == generation_pb2.STATUS_COMPLETED


async def test_a_killed_postgres_loses_no_answered_run_and_is_used_again(own_postgres, nats, broker, tmp_path):
    postgres, dsn = own_postgres
    async with replica(dsn, nats.url, tmp_path) as status:
        accepted, doubtful = [], []
        [drawn] = await status.accept(submission(limit=10**6))
        accepted.append(drawn.run_id)
        await status.claim(drawn.run_id)
        killed = asyncio.Event()
        healed = asyncio.Event()

        async def submit():
            while not healed.is_set() or len(accepted) < 100:
                one = submission(limit=10**6)
                [answer] = await status.accept(one)
                if answer.HasField("error"):
                    assert answer.error.reason == error_reason_pb2.ERROR_REASON_UNAVAILABLE
                    doubtful.append(one)
                    killed.set()
                else:
                    accepted.append(answer.run_id)

        loads = [asyncio.create_task(submit()) for _ in range(8)]
        while len(accepted) < 50:
            await asyncio.wait(loads, timeout=0.01)
        await asyncio.to_thread(postgres.kill)
        async with asyncio.timeout(SURELY_S):
            await killed.wait()
        with pytest.raises(errors.Unavailable):
            await status.get(accepted[0])
        await say(broker, outcome_of(drawn.run_id, 1))
        await asyncio.to_thread(postgres.start)
        while True:  # until the first call after the outage is answered
            try:
                await status.get(accepted[0])
                break
            except errors.Unavailable:
                continue
        healed.set()
        await asyncio.gather(*loads)
        await status.until(drawn.run_id, lambda it: it.status == generation_pb2.STATUS_COMPLETED)
        for start in range(0, len(doubtful), 256):
            repeated = await status.accept(*doubtful[start : start + 256])
            assert not any(answer.HasField("error") for answer in repeated)
        run_ids = accepted + [one.job.run_id for one in doubtful]
        found = {}
        for start in range(0, len(run_ids), 1000):
            found |= (await status(pb.GetStatusesRequest(run_ids=run_ids[start : start + 1000]))).statuses
        assert set(found) == set(run_ids)
    name = dsn.rpartition("/")[2]
    assert int(postgres.sql("SELECT unfinished FROM status.organizations", name)) == len(run_ids) - 1


async def test_one_failed_flush_fails_its_own_submissions_alone(status_dsn, nats, postgres, tmp_path):
    async with replica(status_dsn, nats.url, tmp_path) as status:
        await status.accept(submission(organization="org_locked"))
        async with locked(status_dsn, "org_locked"):
            wanted = [submission(organization="org_locked"), *(submission() for _ in range(199))]
            answers = await status.accept(*wanted)
    refused = [answer for answer in answers if answer.HasField("error")]
    assert {answer.error.reason for answer in refused} == {error_reason_pb2.ERROR_REASON_UNAVAILABLE}
    assert 1 <= len(refused) <= 128
    assert len({answer.run_id for answer in answers if not answer.HasField("error")}) == 200 - len(refused) > 0


@contextlib.asynccontextmanager
async def locked(dsn, organization_id):
    """Hold an organization's counter."""
    sql = "SELECT 1 FROM status.organizations WHERE organization_id = $1 FOR UPDATE"
    database = await Database.open(dsn, application_name="test")
    async with database.transaction(timeout_s=30) as connection:
        await connection.fetch(sql, organization_id)
        yield
    await database.close()
