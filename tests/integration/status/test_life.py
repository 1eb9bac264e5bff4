"""A run's life over gRPC, Postgres and JetStream."""

from __future__ import annotations

import asyncio

import pytest
from imagineo import errors
from imagineo.v1 import error_reason_pb2, generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from tests.integration.status.conftest import outcome_of, pull_jobs, say, submission

pytestmark = pytest.mark.integration


async def test_a_run_is_accepted_claimed_completed_and_shown(status, broker):
    one = submission()
    [accepted] = await status.accept(one)
    assert not accepted.HasField("error")
    assert accepted.estimated_time_s >= 1
    queued = await status.get(one.job.run_id, "org_1")
    assert (queued.status, queued.queue_position, dict(queued.metadata)) == (
        generation_pb2.STATUS_QUEUED,
        0,
        {"a": "b"},
    )
    claim = await status.claim(one.job.run_id)
    assert (claim.verdict, claim.attempt, claim.lease.seconds) == (pb.CLAIM_VERDICT_GRANTED, 1, 8)
    await say(broker, outcome_of(one.job.run_id, 1))
    done = await status.until(one.job.run_id, lambda it: it.status == generation_pb2.STATUS_COMPLETED)
    assert (done.progress, done.attempts, done.image.size_bytes) == (100, 1, 3)
    listed = await status(pb.ListGenerationsRequest(organization_id="org_1"))
    assert [it.run_id for it in listed.generations] == [one.job.run_id]


async def test_fifty_duplicates_of_a_key_make_one_run(status):
    answers = await asyncio.gather(*(status.accept(submission(key="k")) for _ in range(50)))
    assert len({answer.run_id for [answer] in answers}) == 1
    assert sum(answer.replayed for [answer] in answers) == 49
    [other] = await status.accept(submission(key="k", body=b"c" * 32))
    assert other.error.reason == error_reason_pb2.ERROR_REASON_IDEMPOTENCY_KEY_REUSED


async def test_the_cap_is_exact_under_concurrency(status):
    answers = await asyncio.gather(*(status.accept(submission(limit=7)) for _ in range(60)))
    refused = [answer.error.reason for [answer] in answers if answer.HasField("error")]
    assert refused == [error_reason_pb2.ERROR_REASON_QUEUE_FULL] * 53


async def test_the_relay_publishes_what_nobody_published(status, broker):
    one = submission()
    async with broker.wakeups("tiny") as wake:
        await status.accept(one)
        await broker.ensure_queue("tiny")
        assert await wake.wait(10)
    await pull_jobs(broker, [one.job.run_id])


async def test_a_zombies_outcome_is_dropped(status, broker):
    one = submission()
    await status.accept(one)
    await status.claim(one.job.run_id, "w1", "old")
    assert (await status.claim(one.job.run_id, "w1", "new")).attempt == 2
    await say(broker, outcome_of(one.job.run_id, 1))
    await say(broker, outcome_of(one.job.run_id, 2))
    done = await status.until(one.job.run_id, lambda it: it.status == generation_pb2.STATUS_COMPLETED)
    assert done.image.store_key.endswith("/2.png")


async def test_a_queued_run_is_canceled_at_once_and_strangers_see_nothing(status):
    one = submission()
    await status.accept(one)
    with pytest.raises(errors.NotFound):
        await status.cancel(one.job.run_id, "org_2")
    assert (await status.cancel(one.job.run_id)).status == generation_pb2.STATUS_CANCELED
    assert (await status.claim(one.job.run_id)).verdict == pb.CLAIM_VERDICT_OVER
