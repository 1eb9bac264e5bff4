"""What the gateway asks besides, and submissions that nobody waits for any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from imagineo import errors
from imagineo.v1 import error_reason_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status.admission import STALE_AFTER
from tests.integration.status.conftest import submission

pytestmark = pytest.mark.integration


async def unfinished(status, organization_id):
    return (await status(pb.CountUnfinishedRequest(organization_id=organization_id))).unfinished_count


async def found(status, key, body=b"b" * 32, organization_id="org_1"):
    request = pb.FindAcceptanceRequest(organization_id=organization_id, idempotency_key=key, body_sha256=body)
    return (await status(request)).acceptance


async def test_unfinished_runs_are_counted_as_accept_counts_them(status):
    assert await unfinished(status, "org_1") == 0
    [first], _ = await status.accept(submission()), await status.accept(submission())
    await status.accept(submission(organization="org_2"))
    assert await unfinished(status, "org_1") == 2
    await status.cancel(first.run_id)
    assert await unfinished(status, "org_1") == 1
    assert await unfinished(status, "org_2") == 1
    assert await unfinished(status, "org\0") == 0


async def test_a_used_key_is_found_as_it_was_answered_by_its_owner_with_its_body(status):
    [first] = await status.accept(submission(key="k"))
    again = await found(status, "k")
    assert (again.run_id, again.seed, again.estimated_time_s) == (first.run_id, first.seed, first.estimated_time_s)
    assert again.replayed
    with pytest.raises(errors.IdempotencyKeyReused):
        await found(status, "k", body=b"c" * 32)
    for key, organization_id in (("new", "org_1"), ("k", "org_2"), ("k\0", "org_1")):
        with pytest.raises(errors.NotFound):
            await found(status, key, organization_id=organization_id)


async def test_a_submission_that_lay_before_a_frozen_status_is_not_accepted_after_its_client_was_refused(status):
    late, timely = submission(), submission()
    late.job.accepted_at.FromDatetime(datetime.now(UTC) - STALE_AFTER - timedelta(seconds=1))
    timely.job.accepted_at.FromDatetime(datetime.now(UTC) - timedelta(seconds=3))
    refused, accepted = await status.accept(late, timely)
    assert refused.error.reason == error_reason_pb2.ERROR_REASON_UNAVAILABLE
    assert accepted.run_id == timely.job.run_id
    assert await unfinished(status, "org_1") == 1
    with pytest.raises(errors.NotFound):
        await status.get(late.job.run_id)
