"""What time does: deadlines, leases of silent workers, retention, images of attempts that lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.ids import new_id
from imagineo.postgres.pool import Database
from imagineo.v1 import generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status.repository.expiry import Expiry
from services.status.retention import Retention
from tests.integration.status.conftest import outcome_of, say, submission
from tests.support.deadlines import SURELY_S

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(status_dsn):
    one = await Database.open(status_dsn, application_name="test")
    yield one
    await one.close()


@pytest.fixture
async def blobs(tmp_path):
    one = ObstoreBlobs.from_url(f"file://{tmp_path}")
    yield one
    await one.close()


async def silence(database, run_id, seconds):
    """Let a run's worker have been silent for some seconds more."""
    sql = "UPDATE status.generations SET lease_until = lease_until - $2::interval WHERE run_id = $1"
    await database.execute(sql, run_id, timedelta(seconds=seconds))


async def test_a_deadline_ends_a_waiting_run_and_leaves_a_started_one(status):
    soon = datetime.now(UTC) + timedelta(seconds=1)
    waiting, started = submission(deadline=soon), submission(deadline=soon)
    await status.accept(waiting, started)
    await status.claim(started.job.run_id)
    expired = await status.until(waiting.job.run_id, lambda it: it.status == generation_pb2.STATUS_EXPIRED)
    assert expired.finished_at.ToDatetime(tzinfo=UTC) >= soon
    assert (await status.claim(waiting.job.run_id)).verdict == pb.CLAIM_VERDICT_OVER
    assert (await status.get(started.job.run_id)).status == generation_pb2.STATUS_RUNNING


async def test_a_deadline_that_passed_is_told_at_the_claim(status):
    one = submission(deadline=datetime.now(UTC) - timedelta(seconds=1))
    await status.accept(one)
    assert (await status.claim(one.job.run_id)).verdict == pb.CLAIM_VERDICT_OVER
    assert (await status.get(one.job.run_id)).status == generation_pb2.STATUS_EXPIRED


async def test_a_run_that_loses_three_workers_fails(status, database):
    [accepted] = await status.accept(submission())
    for attempt in (1, 2, 3):
        assert (await status.claim(accepted.run_id, f"w{attempt}")).attempt == attempt
        assert (await status.claim(accepted.run_id, "other")).verdict == pb.CLAIM_VERDICT_HELD
        await silence(database, accepted.run_id, 9)
    assert (await status.claim(accepted.run_id, "w4")).verdict == pb.CLAIM_VERDICT_OVER
    lost = await status.get(accepted.run_id)
    assert (lost.status, lost.error.code, lost.attempts) == (generation_pb2.STATUS_FAILED, "worker_lost", 3)


async def test_the_sweep_gives_up_what_nobody_asks_for_any_more(status, database):
    lost, canceled = [answer.run_id for answer in await status.accept(submission(), submission())]
    for attempt in (1, 2, 3):
        await status.claim(lost, f"w{attempt}")
        await silence(database, lost, 9)
    await status.claim(canceled)
    await status.cancel(canceled)
    await silence(database, lost, 30)
    await silence(database, canceled, 30)
    assert (await status.until(lost, lambda it: it.status in (4, 5, 6, 7))).error.code == "worker_lost"
    assert (await status.until(canceled, lambda it: it.status in (4, 5, 6, 7))).status == generation_pb2.STATUS_CANCELED


async def test_a_renewal_keeps_a_claim_and_tells_of_a_cancel(status, database):
    [accepted] = await status.accept(submission())
    await status.claim(accepted.run_id)
    await silence(database, accepted.run_id, 7)
    renewal = pb.RenewLeasesRequest(worker_id="w1", leases=[pb.Lease(run_id=accepted.run_id, attempt=1)])
    assert list((await status(renewal)).verdicts) == [pb.LEASE_VERDICT_KEPT]
    await silence(database, accepted.run_id, 7)
    assert (await status.claim(accepted.run_id, "other")).verdict == pb.CLAIM_VERDICT_HELD
    await status.cancel(accepted.run_id)
    assert list((await status(renewal)).verdicts) == [pb.LEASE_VERDICT_CANCEL]


async def test_a_run_that_is_handed_back_counts_no_lost_attempt(status, broker):
    [accepted] = await status.accept(submission())
    for attempt in range(1, 6):
        assert (await status.claim(accepted.run_id, f"w{attempt}")).attempt == attempt
        await say(broker, outcome_of(accepted.run_id, attempt, generation_pb2.STATUS_QUEUED))
        back = await status.until(accepted.run_id, lambda it, seen=attempt: it.attempts == seen and it.status == 1)
        assert back.waiting_for
    assert (await status.claim(accepted.run_id)).verdict == pb.CLAIM_VERDICT_GRANTED


async def test_images_of_losing_attempts_go_and_the_winner_stays(status, broker, database, blobs):
    run_id = (await status.accept(submission()))[0].run_id
    await status.claim(run_id, "w1", "a")
    await status.claim(run_id, "w1", "b")
    for attempt in (1, 2):
        await blobs.put(f"images/org_1/{run_id}/{attempt}.png", b"png", content_type="image/png")
    await say(broker, outcome_of(run_id, 2))
    await status.until(run_id, lambda it: it.status == generation_pb2.STATUS_COMPLETED)
    retention = Retention(Expiry(database), blobs, 30)
    assert await retention.clear_leftovers() == 0, "it waits for late uploads"
    await database.execute("UPDATE status.leftovers SET due_at = now()")
    assert await retention.clear_leftovers() == 1
    assert await blobs.list(f"images/org_1/{run_id}") == [f"images/org_1/{run_id}/2.png"]
    # A zombie uploads once more, and says so.
    await blobs.put(f"images/org_1/{run_id}/1.png", b"png", content_type="image/png")
    await say(broker, outcome_of(run_id, 1))
    async with asyncio.timeout(SURELY_S):
        while not await database.fetch("UPDATE status.leftovers SET due_at = now() RETURNING 1"):
            await status.get(run_id)
    assert await retention.clear_leftovers() == 1
    assert await blobs.list(f"images/org_1/{run_id}") == [f"images/org_1/{run_id}/2.png"]


async def test_retention_forgets_old_runs_with_their_images_and_nothing_else(status, broker, database, blobs):
    old, young = await finished(status, broker), await finished(status, broker)
    [running] = await status.accept(submission())
    for run_id in (old, young):
        await blobs.put(f"images/org_1/{run_id}/1.png", b"png", content_type="image/png")
    await database.execute(
        "UPDATE status.generations SET finished_at = now() - interval '31 days' WHERE run_id = $1", old
    )
    retention = Retention(Expiry(database), blobs, 30)
    assert await retention.forget(datetime.now(UTC)) == 0, "an id of today is not looked at"
    ancient = new_id("gen").replace("gen_01", "gen_00")
    await database.execute("UPDATE status.generations SET run_id = $2 WHERE run_id = $1", old, ancient)
    await database.execute("UPDATE status.submissions SET run_id = $2 WHERE run_id = $1", old, ancient)
    await blobs.put(f"images/org_1/{ancient}/1.png", b"png", content_type="image/png")
    assert await retention.forget(datetime.now(UTC)) == 1
    assert await blobs.list(f"images/org_1/{ancient}") == []
    assert await blobs.list(f"images/org_1/{young}") != []
    assert set((await status(pb.GetStatusesRequest(run_ids=[ancient, young, running.run_id]))).statuses) == {
        young,
        running.run_id,
    }


async def finished(status, broker):
    run_id = (await status.accept(submission()))[0].run_id
    await status.claim(run_id)
    await say(broker, outcome_of(run_id, 1))
    await status.until(run_id, lambda it: it.status == generation_pb2.STATUS_COMPLETED)
    return run_id
