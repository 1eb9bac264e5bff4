"""A deleted run is absent at once, stops, settles, and leaves neither image nor row."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from imagineo import errors
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.broker import subjects
from imagineo.postgres.pool import Database
from imagineo.v1 import event_pb2, generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status.eraser import Eraser
from services.status.repository.deletion import Deletion
from services.status.repository.dispatch import Dispatch
from services.status.repository.listing import Listing
from tests.integration.status.conftest import outcome_of, replica, say, submission
from tests.support.deadlines import SURELY_S

pytestmark = pytest.mark.integration


async def delete(status, run_id, organization_id="org_1"):
    await status(pb.DeleteGenerationRequest(organization_id=organization_id, run_id=run_id))


async def announced(broker, run_id):
    """Wait for the run's word in the stream EVENTS, and give it."""
    heard: asyncio.Future = asyncio.get_running_loop().create_future()

    async def hear(deliveries):
        for delivery in deliveries:
            change = event_pb2.GenerationChanged.FromString(delivery.body)
            if change.generation.run_id == run_id and not heard.done():
                heard.set_result(change.generation)
            await delivery.ack()

    consuming = asyncio.create_task(broker.consume("EVENTS", "deletion_test", hear))
    try:
        async with asyncio.timeout(SURELY_S):
            return await heard
    finally:
        consuming.cancel()


async def test_a_queued_run_is_gone_at_once_and_its_ending_is_told_to_those_who_settle(status, broker):
    one, other = submission(), submission()
    await status.accept(one, other)
    run_id = one.job.run_id
    with pytest.raises(errors.NotFound):
        await delete(status, run_id, "org_2")
    await delete(status, run_id)
    for asked in (
        pb.GetGenerationRequest(organization_id="org_1", run_id=run_id),
        pb.GetGenerationRequest(run_id=run_id),
        pb.CancelGenerationRequest(organization_id="org_1", run_id=run_id),
        pb.DeleteGenerationRequest(organization_id="org_1", run_id=run_id),
        pb.GetProvenanceRequest(organization_id="org_1", run_id=run_id),
    ):
        with pytest.raises(errors.NotFound):
            await status(asked)
    listed = await status(pb.ListGenerationsRequest(organization_id="org_1"))
    assert [run.run_id for run in listed.generations] == [other.job.run_id]
    assert (await announced(broker, run_id)).status == generation_pb2.STATUS_CANCELED
    assert (await status(pb.CountUnfinishedRequest(organization_id="org_1"))).unfinished_count == 1
    claim = await status.claim(run_id)
    assert claim.verdict in (pb.CLAIM_VERDICT_OVER, pb.CLAIM_VERDICT_UNKNOWN)


async def test_a_running_run_is_asked_to_stop_and_its_watchers_end(status, broker):
    one = submission()
    await status.accept(one)
    run_id = one.job.run_id
    claim = await status.claim(run_id)
    asked_to_stop = asyncio.Event()

    async def hear(_subject, _body):
        asked_to_stop.set()

    subscription = await broker.subscribe(subjects.cancel(run_id), hear)
    stream = status.stub.WatchGeneration(pb.WatchGenerationRequest(organization_id="org_1", run_id=run_id), timeout=30)
    assert (await stream.read()).generation.status == generation_pb2.STATUS_RUNNING
    await delete(status, run_id)
    async with asyncio.timeout(SURELY_S):
        await asked_to_stop.wait()
        assert await stream.read() is grpc.aio.EOF
    await subscription.close()
    renewed = await status(
        pb.RenewLeasesRequest(worker_id="w1", leases=[pb.Lease(run_id=run_id, attempt=claim.attempt)])
    )
    assert list(renewed.verdicts) == [pb.LEASE_VERDICT_CANCEL]
    await say(broker, outcome_of(run_id, claim.attempt, generation_pb2.STATUS_CANCELED))
    assert (await announced(broker, run_id)).status == generation_pb2.STATUS_CANCELED


async def test_the_image_goes_even_where_the_mark_was_all_that_a_crash_left(status_dsn, nats, tmp_path, broker):
    blobs = ObstoreBlobs.from_url(f"file://{tmp_path}")
    async with replica(status_dsn, nats.url, tmp_path) as status:
        one = submission()
        await status.accept(one)
        run_id = one.job.run_id
        await status.claim(run_id)
        outcome = outcome_of(run_id, 1)
        await blobs.put(outcome.image.store_key, b"png", content_type="image/png")
        await say(broker, outcome)
        await status.until(run_id, lambda run: run.status == generation_pb2.STATUS_COMPLETED)
        await announced(broker, run_id)
    database = await Database.open(status_dsn, application_name="test")
    await database.execute(
        "UPDATE status.generations SET deleted_at = now(), created_at = now() - interval '2 minutes' WHERE run_id = $1",
        run_id,
    )
    await Dispatch(database).drop_announcements([run_id])  # heard above; its replica may have died before it noted so
    await Eraser(Deletion(database), None, blobs).erase()
    assert await Listing(database).statuses([run_id]) == {}
    assert await blobs.head(outcome.image.store_key) is None
    await database.close()
    await blobs.close()
