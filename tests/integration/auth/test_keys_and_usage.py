"""Keys with limits of their own, what was drawn by day, and an organization's settings."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from imagineo import errors
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.ids import new_id
from imagineo.v1 import account_pb2, error_reason_pb2, event_pb2, generation_pb2
from imagineo.v1 import auth_service_pb2 as pb
from imagineo.wire.times import timestamp

from tests.integration.auth.conftest import check_for, run_id
from tests.integration.auth.test_service import usage
from tests.support.deadlines import SURELY_S

pytestmark = pytest.mark.integration

MODEL = new_id("model")


@pytest.fixture
async def broker(nats):
    connected = await JetStreamBroker.connect(nats.url, name="test")
    await connected.ensure_queue("starter")
    yield connected
    await connected.close()


async def bound_key(auth, organization_id: str, **bounds) -> tuple[str, str]:
    made = await auth(pb.CreateKeyRequest(organization_id=organization_id, name="bound", **bounds))
    return made.key.key_id, made.secret


async def complete(broker, organization_id: str, key_id: str, run: str, *, steps: int = 10) -> None:
    parameters = generation_pb2.Parameters(model_id=MODEL, width=1000, height=500, steps=steps)
    generation = generation_pb2.Generation(
        run_id=run,
        organization_id=organization_id,
        key_id=key_id,
        status=generation_pb2.STATUS_COMPLETED,
        created_at=timestamp(datetime.now(UTC)),
        parameters=parameters,
        draw_ms=1500,
    )
    body = event_pb2.GenerationChanged(event_id=f"evt_{run[4:]}", generation=generation).SerializeToString()
    await broker.publish_event(subjects.event("completed", run), body, message_id=run)


async def until_used(auth, organization_id: str, images: int) -> pb.ListUsageResponse:
    async with asyncio.timeout(SURELY_S):
        while True:
            found = await auth(pb.ListUsageRequest(organization_id=organization_id))
            if found.total.images == images:
                return found


async def test_a_keys_own_images_are_counted_exactly_and_given_back(auth, broker):
    organization_id, _, _ = await auth.new_key()
    key_id, secret = await bound_key(auth, organization_id, images_per_month=3)
    runs = [run_id() for _ in range(8)]
    verdicts = await asyncio.gather(*(auth.authorize(check_for(secret, reserve=run)) for run in runs))
    held = [run for run, [verdict] in zip(runs, verdicts, strict=True) if not verdict.HasField("error")]
    refusals = [verdict.error for [verdict] in verdicts if verdict.HasField("error")]
    assert len(held) == 3
    assert {refusal.reason for refusal in refusals} == {error_reason_pb2.ERROR_REASON_QUOTA_EXCEEDED}
    assert (await usage(auth, organization_id)).images_reserved == 3  # the refused ones hold nothing
    await auth(pb.ReleaseReservationsRequest(run_ids=[held[0]]))
    await complete(broker, organization_id, key_id, held[1])
    await until_used(auth, organization_id, 1)
    [listed] = [
        key for key in (await auth(pb.ListKeysRequest(organization_id=organization_id))).keys if key.key_id == key_id
    ]
    assert (listed.images_per_month, listed.images_used) == (3, 2)
    [again], [over] = (
        await auth.authorize(check_for(secret, reserve=run_id())),
        await auth.authorize(check_for(secret, reserve=run_id())),
    )
    assert not again.HasField("error")
    assert over.error.reason == error_reason_pb2.ERROR_REASON_QUOTA_EXCEEDED


async def test_several_runs_of_one_request_fit_or_do_not_together(auth):
    organization_id, _, _ = await auth.new_key()
    _, secret = await bound_key(auth, organization_id, images_per_month=2)
    check = check_for(secret, reserve=run_id())
    check.more_run_ids.extend([run_id(), run_id()])
    [refused] = await auth.authorize(check)
    assert refused.error.reason == error_reason_pb2.ERROR_REASON_QUOTA_EXCEEDED
    assert (await usage(auth, organization_id)).images_reserved == 0


async def test_a_key_tells_its_bounds_and_who_is_bound_is_known_at_the_gate(auth):
    organization_id, _, free = await auth.new_key()
    _, secret = await bound_key(
        auth,
        organization_id,
        allowed_model_ids=[MODEL],
        permissions=[account_pb2.PERMISSION_GENERATIONS_WRITE],
    )
    [verdict], [unbound] = await auth.authorize(check_for(secret)), await auth.authorize(check_for(free))
    assert list(verdict.principal.allowed_model_ids) == [MODEL]
    assert list(verdict.principal.permissions) == [account_pb2.PERMISSION_GENERATIONS_WRITE]
    assert verdict.principal.is_restricted
    assert not unbound.principal.is_restricted
    assert len(unbound.principal.permissions) == len(account_pb2.Permission.values()) - 1


@pytest.mark.parametrize(
    ("bounds", "param"),
    [
        ({"allowed_model_ids": ["nonsense"]}, "allowed_models"),
        ({"allowed_model_ids": [new_id("model") for _ in range(101)]}, "allowed_models"),
        ({"images_per_month": -1}, "images_per_month"),
    ],
)
async def test_bounds_out_of_range_are_refused(auth, bounds, param):
    organization_id, _, _ = await auth.new_key()
    with pytest.raises(errors.InvalidParameter) as refusal:
        await bound_key(auth, organization_id, **bounds)
    assert refusal.value.metadata["param"] == param


async def test_usage_is_summed_by_day_key_and_model_however_often_an_event_comes(auth, broker):
    organization_id, key_id, _ = await auth.new_key()
    other_id, _ = await bound_key(auth, organization_id)
    runs = [run_id() for _ in range(3)]
    for owner, run in zip((key_id, key_id, other_id), runs, strict=True):
        await complete(broker, organization_id, owner, run)
    body = event_pb2.GenerationChanged(
        generation=generation_pb2.Generation(
            run_id=runs[0], organization_id=organization_id, status=generation_pb2.STATUS_COMPLETED
        )
    ).SerializeToString()
    await broker.publish_event(subjects.event("completed", runs[0]), body, message_id=f"{runs[0]}.again")
    found = await until_used(auth, organization_id, 3)
    rows = {row.key_id: row for row in found.usage}
    assert found.rows_count == 2
    assert (rows[key_id].images, rows[key_id].megapixel_steps, rows[key_id].device_ms) == (2, 10.0, 3000)
    assert (rows[other_id].images, rows[other_id].model_id) == (1, MODEL)
    assert rows[other_id].day == datetime.now(UTC).date().isoformat()
    page = await auth(pb.ListUsageRequest(organization_id=organization_id, page_size=1, offset=5))
    assert (list(page.usage), page.total.images, page.rows_count) == ([], 3, 2)
    one = await auth(pb.ListUsageRequest(organization_id=organization_id, key_id=other_id))
    assert (one.total.images, one.rows_count) == (1, 1)
    stranger, _, _ = await auth.new_key()
    assert (await auth(pb.ListUsageRequest(organization_id=stranger))).rows_count == 0


@pytest.mark.parametrize(
    ("days", "param"),
    [
        ({"first_day": "yesterday"}, "first_day"),
        ({"first_day": "2026-02-30"}, "first_day"),
        ({"first_day": "2026-02-02", "last_day": "2026-02-01"}, "first_day"),
        ({"first_day": "2020-01-01", "last_day": "2026-02-01"}, "first_day"),
        ({"page_size": 101}, "page_size"),
        ({"offset": -1}, "offset"),
    ],
)
async def test_days_and_pages_out_of_range_are_refused(auth, days, param):
    organization_id, _, _ = await auth.new_key()
    with pytest.raises(errors.InvalidParameter) as refusal:
        await auth(pb.ListUsageRequest(organization_id=organization_id, **days))
    assert refusal.value.metadata["param"] == param


async def test_an_organization_changes_its_name_and_what_its_images_tell(auth):
    organization_id, _, secret = await auth.new_key()
    changed = await auth(
        pb.UpdateOrganizationRequest(organization_id=organization_id, name="New", omit_provenance=True)
    )
    assert (changed.organization.name, changed.organization.omit_provenance) == ("New", True)
    kept = await auth(pb.UpdateOrganizationRequest(organization_id=organization_id))
    assert (kept.organization.name, kept.organization.omit_provenance) == ("New", True)
    async with asyncio.timeout(SURELY_S):
        while True:
            [verdict] = await auth.authorize(check_for(secret))
            if verdict.principal.omit_provenance:
                return


async def test_keys_come_in_pages(auth):
    organization_id, _, _ = await auth.new_key()
    made = [(await bound_key(auth, organization_id))[0] for _ in range(3)]
    first = await auth(pb.ListKeysRequest(organization_id=organization_id, page_size=2))
    rest = await auth(
        pb.ListKeysRequest(organization_id=organization_id, page_size=2, page_token=first.next_page_token)
    )
    assert [key.key_id for key in first.keys] == [made[2], made[1]]
    assert rest.keys[0].key_id == made[0]
    assert not rest.next_page_token
    with pytest.raises(errors.InvalidParameter):
        await auth(pb.ListKeysRequest(organization_id="org_other", page_token=first.next_page_token))
