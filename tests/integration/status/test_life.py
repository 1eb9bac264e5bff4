"""A run's life over gRPC, Postgres and JetStream."""

from __future__ import annotations

import asyncio

import pytest
from imagineo import errors
from imagineo.jobs.states import Cancellation
from imagineo.postgres.pool import Database
from imagineo.v1 import error_reason_pb2, event_pb2, generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status.admission import Candidate
from services.status.queues import Queues
from services.status.reader import Reader
from services.status.repository.listing import Listing
from services.status.repository.runs import Runs, Word
from services.status.repository.submissions import Submissions
from services.status.workers import Workers
from tests.integration.status.conftest import outcome_of, pull_jobs, say, submission
from tests.support.deadlines import SURELY_S

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


async def test_places_in_a_long_queue_are_exact(status_dsn):
    database = await Database.open(status_dsn, application_name="test")
    submissions, listing, queues = Submissions(database), Listing(database), Queues(Workers())
    reader = Reader(listing, queues)
    for _ in range(5):
        await submissions.accept([Candidate(submission(limit=10_000), 1) for _ in range(128)])
    rows = await database.fetch("SELECT run_id FROM status.generations ORDER BY run_id")
    run_ids = [row["run_id"] for row in rows]
    places = {}
    for gone in (0, 40):
        await Runs(database).apply([Word(run_id, Cancellation()) for run_id in run_ids[:gone]])
        queues.replace((await listing.queues())[0], await listing.landmarks())
        found = await reader.many(run_ids[gone:])
        places[gone] = [found[run_id].queue_position for run_id in run_ids[gone:]]
        assert queues.landmark(("tiny", 1), run_ids[-1]).before_count == 512
    await database.close()
    assert places == {0: list(range(640)), 40: list(range(600))}


async def test_a_webhook_url_is_kept_and_announced(status, broker):
    one = submission()
    one.webhook_url = "https://hooks.example.com/x?key=1"
    await status.accept(one)
    assert (await status.get(one.job.run_id)).webhook_url == one.webhook_url
    heard = asyncio.Queue()

    async def hear(deliveries):
        for delivery in deliveries:
            await heard.put(event_pb2.GenerationChanged.FromString(delivery.body))
            await delivery.ack()

    listening = asyncio.create_task(broker.consume("EVENTS", "test-webhook-url", hear))
    await status.cancel(one.job.run_id)
    async with asyncio.timeout(SURELY_S):
        while (event := await heard.get()).generation.run_id != one.job.run_id:
            pass
    listening.cancel()
    assert event.generation.webhook_url == one.webhook_url


@pytest.mark.parametrize("url", ["https://a.example/\n", "https://a.example/\0", "x" * 2049, "https://\u00e9.example"])
async def test_a_webhook_url_that_cannot_be_stored_is_refused(status, url):
    one = submission()
    one.webhook_url = url
    [answer] = await status.accept(one)
    assert answer.error.metadata["param"] == "webhook_url"
