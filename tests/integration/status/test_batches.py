"""Batches over gRPC, Postgres and JetStream: accepted whole, fed in turn, counted exactly, stopped for good."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from imagineo import errors
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.broker import subjects
from imagineo.ids import new_id
from imagineo.postgres.pool import Database
from imagineo.rpc.client import call
from imagineo.v1 import (
    batch_pb2,
    batch_service_pb2_grpc,
    error_reason_pb2,
    event_pb2,
    generation_pb2,
    generation_service_pb2,
    job_pb2,
)
from imagineo.v1 import batch_service_pb2 as pb

from services.status.repository.expiry import Expiry
from services.status.repository.feeding import Feeding
from services.status.retention import Retention
from services.status.turns import window_of
from tests.integration.status.conftest import outcome_of, replica, say, submission
from tests.support.deadlines import SURELY_S

pytestmark = pytest.mark.integration

#: The tests share a broker: each has a base model of its own.
SLUG = [""]


@pytest.fixture(autouse=True)
def slug():
    SLUG[0] = new_id("base")
    return SLUG[0]


class BatchClient:
    """Calls the BatchService of a replica."""

    def __init__(self, status):
        self.stub = batch_service_pb2_grpc.BatchServiceStub(status.channel)

    async def __call__(self, request, timeout_s=20.0):
        method = type(request).__name__.removesuffix("Request")
        return await call(getattr(self.stub, method), request, timeout_s=timeout_s)

    async def create(self, count, organization="org_1", **fields):
        request = batch(count, organization, **fields)
        return request, (await self(request)).acceptance

    async def get(self, batch_id, organization="org_1"):
        return (await self(pb.GetBatchRequest(organization_id=organization, batch_id=batch_id))).batch

    async def cancel(self, batch_id, organization="org_1"):
        return (await self(pb.CancelBatchRequest(organization_id=organization, batch_id=batch_id))).batch


def batch(count, organization="org_1", limit=1000, key="", body=b"b" * 32, deadline=None):
    run_ids = sorted(new_id("gen") for _ in range(count))
    submissions = [single(run_id, organization, deadline=deadline) for run_id in run_ids]
    return pb.CreateBatchRequest(
        batch_id=new_id("batch"),
        organization_id=organization,
        key_id="key_1",
        name="mugs",
        metadata={"order": "7"},
        submissions=submissions,
        idempotency_key=key,
        body_sha256=body,
        queued_runs_limit=limit,
    )


def single(run_id="", organization="org_1", **fields):
    one = submission(run_id, organization, **fields)
    one.job.base_model_slug = SLUG[0]
    return one


def run_ids_of(request):
    return [one.job.run_id for one in request.submissions]


@pytest.fixture
def batches(status):
    return BatchClient(status)


@pytest.fixture
async def database(status_dsn):
    one = await Database.open(status_dsn, application_name="test")
    yield one
    await one.close()


async def unfinished_count(status, organization="org_1"):
    request = generation_service_pb2.CountUnfinishedRequest(organization_id=organization)
    return (await status(request)).unfinished_count


async def eventually(look, within_s=SURELY_S):
    """Ask again until the answer is true; the answer."""
    async with asyncio.timeout(within_s):
        while not (found := await look()):  # noqa: ASYNC110 - what is asked lies in another process
            await asyncio.sleep(0.02)
    return found


async def drawn(status, broker, run_id, status_word=generation_pb2.STATUS_COMPLETED):
    """Draw one run as a worker would, to its end."""
    claim = await status.claim(run_id)
    await say(broker, outcome_of(run_id, claim.attempt, status_word))
    await status.until(run_id, lambda it: it.status == status_word, organization_id="")


async def next_run(broker, lane=job_pb2.LANE_FREE):
    """Take the next job; its run."""

    async def take():
        try:
            return await broker.next_job(subjects.queue(SLUG[0], lane))
        except errors.Unavailable:
            return None

    await broker.ensure_queue(SLUG[0])
    delivery = await eventually(take)
    await delivery.ack()
    return job_pb2.Job.FromString(delivery.body).run_id


async def test_a_batch_is_accepted_whole_and_its_items_are_runs_from_the_start(status, batches):
    request, accepted = await batches.create(300)

    assert (accepted.batch_id, accepted.total, accepted.replayed) == (request.batch_id, 300, False)
    assert accepted.estimated_time_s >= 1
    found = await batches.get(request.batch_id)
    assert (found.status, found.counts.total, found.counts.queued) == (batch_pb2.BATCH_STATUS_RUNNING, 300, 300)
    assert (found.name, dict(found.metadata), found.progress) == ("mugs", {"order": "7"}, 0)
    last = await status.get(run_ids_of(request)[-1])
    assert (last.status, last.batch_id) == (generation_pb2.STATUS_QUEUED, request.batch_id)
    assert last.waiting_for == f"its turn in batch {request.batch_id}"
    assert last.queue_position >= 290
    assert last.estimated_time_s >= (await status.get(run_ids_of(request)[0])).estimated_time_s >= 1


async def test_items_are_listed_in_order_and_by_the_filter_of_runs(status, batches):
    request, _ = await batches.create(120)
    await batches.create(3)

    first = (await batches(pb.ListBatchItemsRequest(organization_id="org_1", batch_id=request.batch_id))).items
    rest = (
        await batches(pb.ListBatchItemsRequest(organization_id="org_1", batch_id=request.batch_id, first_index=100))
    ).items
    page = await status(
        generation_service_pb2.ListGenerationsRequest(organization_id="org_1", batch_id=request.batch_id, page_size=100)
    )

    assert [item.index for item in [*first, *rest]] == list(range(120))
    assert [item.generation.run_id for item in [*first, *rest]] == run_ids_of(request)
    assert [run.run_id for run in page.generations] == run_ids_of(request)[:-101:-1]
    assert page.next_page_token


async def test_a_small_window_is_released_and_only_that_counts_as_unfinished(status, batches, broker):
    request, _ = await batches.create(50)

    await eventually(lambda: unfinished_count(status))
    for _ in range(5):  # each ending lets one more out, in the order of the batch
        run_id = await next_run(broker)
        await drawn(status, broker, run_id)
    await eventually(lambda: _is(unfinished_count(status), window_of(0)))

    done = [item for item in await items_of(batches, request) if item.generation.status == 4]
    assert [item.index for item in done] == list(range(5))
    found = await batches.get(request.batch_id)
    assert (found.counts.completed, found.counts.queued, found.progress) == (5, 45, 10)


async def _is(awaitable, value):
    return (await awaitable) == value


async def items_of(batches, request, organization="org_1"):
    asked = pb.ListBatchItemsRequest(organization_id=organization, batch_id=request.batch_id)
    return (await batches(asked)).items


async def test_a_thousand_items_of_one_account_keep_another_accounts_run_waiting_for_a_window_at_most(
    status, batches, broker
):
    request, _ = await batches.create(1000, "org_big")
    await eventually(lambda: unfinished_count(status, "org_big"))
    other = single(organization="org_small")
    await status.accept(other)
    await broker.publish_job(
        subjects.job(SLUG[0], job_pb2.LANE_FREE), other.job.SerializeToString(), message_id=other.job.run_id
    )

    before = []
    while (run_id := await next_run(broker)) != other.job.run_id:
        before.append(run_id)
        await drawn(status, broker, run_id)

    assert len(before) <= window_of(0)
    assert set(before) <= set(run_ids_of(request))


async def test_a_batch_that_comes_later_has_its_turn_at_once(status, batches, broker):
    await batches.create(200, "org_big")
    await eventually(lambda: unfinished_count(status, "org_big"))
    later, _ = await batches.create(4, "org_small")

    drawn_ids = []
    while not set(run_ids_of(later)) <= set(drawn_ids):
        drawn_ids.append(await next_run(broker))
        await drawn(status, broker, drawn_ids[-1])

    assert len(drawn_ids) <= 2 * window_of(0) + 2 * 4


async def test_two_replicas_release_each_item_once_and_never_more_than_the_window(status_dsn, nats, tmp_path, broker):
    async with replica(status_dsn, nats.url, tmp_path) as one, replica(status_dsn, nats.url, tmp_path) as two:
        clients = [BatchClient(one), BatchClient(two)]
        made = [await clients[number % 2].create(15, f"org_{number}") for number in range(4)]
        wanted = {run_id for request, _ in made for run_id in run_ids_of(request)}
        seen = []
        while set(seen) != wanted:
            run_id = await next_run(broker)
            seen.append(run_id)
            counts = [await unfinished_count(one, f"org_{number}") for number in range(4)]
            assert sum(counts) <= window_of(0)
            await drawn([one, two][len(seen) % 2], broker, run_id)
        assert len(seen) == len(wanted)
        for number, (request, _) in enumerate(made):
            found = await clients[0].get(request.batch_id, f"org_{number}")
            assert (found.status, found.counts.completed) == (batch_pb2.BATCH_STATUS_COMPLETED, 15)
            assert found.progress == 100
            assert found.HasField("finished_at")


async def test_the_window_follows_the_workers_slots_and_the_accounts_cap_bounds_it(status, batches, broker):
    beat = event_pb2.WorkerBeat(worker_id="w1", base_model_slugs=[SLUG[0]], slots=6)
    await broker.emit(subjects.worker("w1"), beat.SerializeToString())

    await batches.create(40, "org_wide")
    await eventually(lambda: _is(unfinished_count(status, "org_wide"), 9))

    beat.slots = 30
    await broker.emit(subjects.worker("w1"), beat.SerializeToString())
    await batches.create(40, "org_narrow", limit=8)
    await eventually(lambda: _is(unfinished_count(status, "org_narrow"), 6))  # a quarter is spared for single submits
    [answer] = await status.accept(single(organization="org_narrow", limit=8))
    assert not answer.HasField("error")


async def test_dead_between_release_and_publication_the_relay_publishes(status_dsn, nats, tmp_path, broker, database):
    async with replica(status_dsn, nats.url, tmp_path) as status:
        clients = BatchClient(status)
        request, _ = await clients.create(6)
        await eventually(lambda: unfinished_count(status))
    # A feeder that died after its commit: what it released was never published.
    released = await Feeding(database).release(SLUG[0], 4)
    assert [row["run_id"] for row in released] == run_ids_of(request)[2:4]

    async with replica(status_dsn, nats.url, tmp_path):
        seen: set[str] = set()
        while not seen >= set(run_ids_of(request)[:4]):  # what is acked without a claim is published again
            seen.add(await next_run(broker))
        assert seen == set(run_ids_of(request)[:4])


async def test_dead_before_the_commit_nothing_was_released(status_dsn, nats, tmp_path, broker, database, monkeypatch):
    async with replica(status_dsn, nats.url, tmp_path) as status:
        request, _ = await BatchClient(status).create(6)
        await eventually(lambda: unfinished_count(status))
    feeding = Feeding(database)

    async def die(*_):
        raise RuntimeError

    monkeypatch.setattr(feeding, "_count", die)
    with pytest.raises(RuntimeError):
        await feeding.release(SLUG[0], 4)

    held = await database.fetchval("SELECT count(*) FROM status.held")
    counted = await database.fetchval("SELECT unfinished FROM status.organizations")
    assert (held, counted) == (4, 2)
    async with replica(status_dsn, nats.url, tmp_path) as status:
        await drawn(status, broker, run_ids_of(request)[0])
        await eventually(lambda: _is(unfinished_count(status), 2))


async def test_a_cancel_stops_what_is_held_at_once_and_what_runs_at_its_next_step(status, batches, broker):
    request, _ = await batches.create(400)
    running = await next_run(broker)
    claim = await status.claim(running)

    asked = await batches.cancel(request.batch_id)
    assert asked.status == batch_pb2.BATCH_STATUS_CANCELING
    still = await eventually(lambda: _counts(batches, request, canceled=399))
    assert (still.counts.canceling, still.counts.queued) == (1, 0)
    await say(broker, outcome_of(running, claim.attempt, generation_pb2.STATUS_CANCELED))
    await status.until(running, lambda it: it.status == generation_pb2.STATUS_CANCELED)

    over = await batches.get(request.batch_id)
    again = await batches.cancel(request.batch_id)
    assert over.status == again.status == batch_pb2.BATCH_STATUS_CANCELED
    assert again.counts.canceled == 400
    assert await unfinished_count(status) == 0


async def _counts(batches, request, **wanted):
    found = await batches.get(request.batch_id)
    return found if all(getattr(found.counts, name) == count for name, count in wanted.items()) else None


async def test_a_cancel_that_died_halfway_is_finished_by_any_replica(status_dsn, nats, tmp_path, database):
    async with replica(status_dsn, nats.url, tmp_path) as status:
        request, _ = await BatchClient(status).create(30)
    await database.execute("UPDATE status.batches SET cancel_asked_at = now(), is_canceling = true")

    async with replica(status_dsn, nats.url, tmp_path) as status:
        over = await eventually(lambda: _counts(BatchClient(status), request, canceled=30))
        assert over.status == batch_pb2.BATCH_STATUS_CANCELED
        assert await unfinished_count(status) == 0
    assert await database.fetchval("SELECT count(*) FROM status.held") == 0


async def test_canceling_items_while_they_are_released_leaves_the_counters_exact(status, batches, broker, database):
    requests = [(await batches.create(40, f"org_{number}"))[0] for number in range(3)]

    async def stop(request, number):
        for run_id in run_ids_of(request)[::2]:
            await status.cancel(run_id, f"org_{number}")

    async def work():
        for _ in range(30):
            run_id = await next_run(broker)
            claim = await status.claim(run_id)
            if claim.verdict == generation_service_pb2.CLAIM_VERDICT_GRANTED:
                await say(broker, outcome_of(run_id, claim.attempt))

    await asyncio.gather(*(stop(request, number) for number, request in enumerate(requests)), work())
    await eventually(lambda: _settled(database))
    # In one statement, since releases go on: each of them moves a row and its counter together.
    counted = await database.fetch(
        "SELECT o.organization_id, o.unfinished, count(u.run_id) AS actual FROM status.organizations AS o "
        "JOIN status.generations AS g USING (organization_id) LEFT JOIN status.unfinished AS u USING (run_id) "
        "GROUP BY o.organization_id, o.unfinished"
    )
    assert len(counted) == 3
    assert [row["unfinished"] for row in counted] == [row["actual"] for row in counted]
    for number, request in enumerate(requests):
        counts = (await batches.get(request.batch_id, f"org_{number}")).counts
        assert counts.queued + counts.running + counts.completed + counts.canceled == 40
        assert counts.canceled + counts.completed >= 20


async def _settled(database):
    """No row stands in two places, and nothing terminal is left in either."""
    return not await database.fetchval(
        "SELECT count(*) FROM status.generations AS g LEFT JOIN status.held AS h USING (run_id) "
        "LEFT JOIN status.unfinished AS u USING (run_id) "
        "WHERE (g.status >= 4) = (h.run_id IS NOT NULL OR u.run_id IS NOT NULL) "
        "OR (h.run_id IS NOT NULL AND u.run_id IS NOT NULL)"
    )


async def test_partial_failure_shows_counts_and_the_first_errors(status, batches, broker):
    request, _ = await batches.create(3)
    failed = outcome_of(await next_run(broker), 1, generation_pb2.STATUS_FAILED)
    failed.error.code, failed.error.message = "out_of_memory", "The picture is too large."
    await status.claim(failed.run_id)
    await say(broker, failed)
    for _ in range(2):
        await drawn(status, broker, await next_run(broker))

    over = await eventually(lambda: _counts(batches, request, failed=1, completed=2))

    assert (over.status, over.progress) == (batch_pb2.BATCH_STATUS_COMPLETED, 100)
    [problem] = over.problems
    # Runs of one batch may come in any order.
    index = [each.job.run_id for each in request.submissions].index(failed.run_id)
    assert (problem.index, problem.run_id, problem.error.code) == (index, failed.run_id, "out_of_memory")


async def test_a_key_answers_the_same_batch_and_refuses_another_body(status, batches):
    answers = await asyncio.gather(*(batches.create(20, key="k") for _ in range(5)))
    assert len({accepted.batch_id for _, accepted in answers}) == 1
    assert sum(accepted.replayed for _, accepted in answers) == 4
    with pytest.raises(errors.IdempotencyKeyReused):
        await batches.create(20, key="k", body=b"c" * 32)
    [answer] = await status.accept(single(key="k", body=b"c" * 32))
    assert answer.error.reason == error_reason_pb2.ERROR_REASON_IDEMPOTENCY_KEY_REUSED
    found = await batches(pb.FindBatchRequest(organization_id="org_1", idempotency_key="k", body_sha256=b"b" * 32))
    assert found.acceptance.batch_id == answers[0][1].batch_id
    with pytest.raises(errors.NotFound):
        await batches(pb.FindBatchRequest(organization_id="org_2", idempotency_key="k", body_sha256=b"b" * 32))


async def test_one_bad_item_refuses_the_whole_batch(status, batches, database):
    request = batch(10)
    request.submissions[7].job.run_id = request.submissions[3].job.run_id
    with pytest.raises(errors.InvalidParameter):
        await batches(request)
    request = batch(10)
    request.submissions[7].job.base_model_slug = "no slug"
    with pytest.raises(errors.InvalidParameter):
        await batches(request)
    with pytest.raises(errors.InvalidParameter):
        await batches(batch(1001))
    assert await database.fetchval("SELECT count(*) FROM status.generations") == 0
    assert await database.fetchval("SELECT count(*) FROM status.batches") == 0


async def test_another_organization_sees_no_batch(status, batches):
    request, _ = await batches.create(2)
    for asked in (pb.GetBatchRequest, pb.CancelBatchRequest, pb.ListBatchItemsRequest):
        with pytest.raises(errors.NotFound):
            await batches(asked(organization_id="org_2", batch_id=request.batch_id))
    page = await batches(pb.ListBatchesRequest(organization_id="org_2"))
    assert list(page.batches) == []
    mine = await status(
        generation_service_pb2.ListGenerationsRequest(organization_id="org_2", batch_id=request.batch_id)
    )
    assert list(mine.generations) == []


async def test_batches_are_listed_newest_first_in_pages(batches):
    made = [(await batches.create(2))[0].batch_id for _ in range(3)]
    first = await batches(pb.ListBatchesRequest(organization_id="org_1", page_size=2))
    asked = pb.ListBatchesRequest(organization_id="org_1", page_size=2, page_token=first.next_page_token)
    rest = await batches(asked)
    assert [one.batch_id for one in [*first.batches, *rest.batches]] == made[::-1]
    assert not rest.next_page_token
    with pytest.raises(errors.InvalidParameter):
        await batches(pb.ListBatchesRequest(organization_id="org_1", page_token="forged"))


async def test_held_items_expire_at_their_deadline(status, batches, database):
    async def late():
        await database.execute("UPDATE status.generations SET deadline = now() - interval '1 second'")
        await database.execute("UPDATE status.held SET deadline = now() - interval '1 second'")
        await database.execute("UPDATE status.unfinished SET deadline = now() - interval '1 second'")

    request, _ = await batches.create(20)
    await eventually(lambda: unfinished_count(status))
    await late()
    over = await eventually(lambda: _counts(batches, request, expired=20))
    assert over.status == batch_pb2.BATCH_STATUS_FAILED
    assert await unfinished_count(status) == 0


async def test_a_deleted_item_is_counted_as_deleted(status, batches):
    request, _ = await batches.create(5)
    run_id = run_ids_of(request)[4]
    await status(generation_service_pb2.DeleteGenerationRequest(organization_id="org_1", run_id=run_id))
    found = await eventually(lambda: _counts(batches, request, deleted=1))
    assert found.counts.queued == 4
    items = await items_of(batches, request)
    assert [item.HasField("generation") for item in items] == [True] * 4 + [False]


async def test_a_batch_goes_with_the_last_of_its_runs(status, batches, database, tmp_path):
    old, _ = await batches.create(3)
    young, _ = await batches.create(2)
    await batches.cancel(old.batch_id)
    await eventually(lambda: _counts(batches, old, canceled=3))
    for number, run_id in enumerate(run_ids_of(old)):
        ancient = run_id.replace("gen_01", "gen_00")
        for table in ("generations", "submissions", "batch_items"):
            await database.execute(f"UPDATE status.{table} SET run_id = $2 WHERE run_id = $1", run_id, ancient)  # noqa: S608
        if number:  # the first is younger than the others
            await database.execute(
                "UPDATE status.generations SET finished_at = now() - interval '31 days' WHERE run_id = $1", ancient
            )
    first = old.batch_id.replace("batch_01", "batch_00")
    for table in ("batches", "batch_items"):
        await database.execute(f"UPDATE status.{table} SET batch_id = $2 WHERE batch_id = $1", old.batch_id, first)  # noqa: S608
    blobs = ObstoreBlobs.from_url(f"file://{tmp_path}")
    retention = Retention(Expiry(database), blobs, 30)

    await retention.forget(datetime.now(UTC))
    left = (await batches.get(first)).counts
    await database.execute("UPDATE status.generations SET finished_at = now() - interval '31 days' WHERE status >= 4")
    await retention.forget(datetime.now(UTC))

    assert (left.canceled, left.deleted, left.total) == (1, 2, 3)
    with pytest.raises(errors.NotFound):
        await batches.get(first)
    assert await database.fetchval("SELECT count(*) FROM status.batch_items") == 2
    assert (await batches.get(young.batch_id)).counts.total == 2
    await blobs.close()
