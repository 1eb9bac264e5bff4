from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors, keys
from imagineo.v1 import account_pb2
from imagineo.v1 import auth_service_pb2 as pb
from imagineo.v1 import error_reason_pb2 as reasons
from imagineo.wire.times import timestamp

from services.auth.accounts import Permission
from services.auth.admission import Check
from services.auth.authorizer import Authorizer
from services.auth.key_cache import KeyCache
from services.auth.last_use import LastUse
from services.auth.people_repository import PeopleRepository
from services.auth.repository import SQL, Repository, Settlement
from services.auth.sessions import Sessions
from tests.integration.auth.conftest import check_for, run_id
from tests.support.deadlines import lived

pytestmark = pytest.mark.integration


def granted(verdicts) -> int:
    return sum(not verdict.HasField("error") for verdict in verdicts)


async def usage(auth, organization_id: str) -> pb.GetUsageResponse:
    return await auth(pb.GetUsageRequest(organization_id=organization_id))


async def test_every_query_prepares(database):
    async with database.connection() as connection:
        for sql in SQL.values():
            await connection.prepare(sql)


async def test_a_free_organization_gets_ten_requests_and_is_told_when_to_come_back(auth):
    organization_id, key_id, secret = await auth.new_key("free")
    before_s = int(time.time())
    verdicts = [(await auth.authorize(check_for(secret)))[0] for _ in range(11)]
    assert [verdict.rate_limit.remaining for verdict in verdicts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert granted(verdicts[:10]) == 10
    last = verdicts[10]
    assert last.error.reason == reasons.ERROR_REASON_RATE_LIMITED
    assert 50 < last.error.retry_after_s <= 60
    assert last.rate_limit.limit == 10
    assert before_s + 60 <= last.rate_limit.reset_at_epoch_s <= time.time() + 61
    assert (last.principal.organization_id, last.principal.key_id) == (organization_id, key_id)
    assert last.principal.plan == account_pb2.PLAN_FREE
    assert last.principal.limits.queued_runs == 20


async def test_two_replicas_under_two_hundred_calls_grant_exactly_the_limit(start):
    async with start() as one, start() as two:
        _, _, secret = await one.new_key("premium", requests_per_minute=73)
        calls = [replica.authorize(check_for(secret), check_for(secret)) for replica in (one, two) * 100]
        answers = await asyncio.gather(*calls)
        verdicts = [verdict for answer in answers for verdict in answer]
        assert granted(verdicts) == 73
        assert sorted(verdict.rate_limit.remaining for verdict in verdicts if not verdict.HasField("error")) == list(
            range(73)
        )


async def test_lists_of_many_organizations_in_any_order_neither_deadlock_nor_lose_count(start):
    async with start() as one, start() as two:
        secrets = [(await one.new_key("premium", requests_per_minute=20))[2] for _ in range(6)]
        lists = [
            [check_for(secret, reserve=run_id()) for secret in (secrets if number % 2 else secrets[::-1])]
            for number in range(60)
        ]
        answers = await asyncio.gather(
            *((one if number % 3 else two).authorize(*checks) for number, checks in enumerate(lists))
        )
        assert sum(granted(answer) for answer in answers) == 6 * 20


async def test_a_list_is_answered_in_its_order_and_no_check_fails_its_mates(auth):
    _, _, secret = await auth.new_key("free", requests_per_minute=2)
    other_id, _, _ = await auth.new_key("basic")
    reader = await auth(
        pb.CreateKeyRequest(
            organization_id=other_id, name="reader", permissions=[account_pb2.PERMISSION_GENERATIONS_READ]
        )
    )
    verdicts = await auth.authorize(
        check_for(secret),
        check_for("not a key"),
        check_for(reader.secret, reserve=run_id()),
        check_for(secret),
        check_for(secret, reserve=run_id()),
        check_for(reader.secret, permission=account_pb2.PERMISSION_GENERATIONS_READ),
    )
    assert [verdict.error.reason for verdict in verdicts] == [
        0,
        reasons.ERROR_REASON_INVALID_API_KEY,
        reasons.ERROR_REASON_PERMISSION_DENIED,
        0,
        reasons.ERROR_REASON_RATE_LIMITED,
        0,
    ]
    assert not verdicts[1].HasField("principal")
    assert not verdicts[1].HasField("rate_limit")
    assert verdicts[2].error.metadata == {"permission": "generations:write"}
    assert [verdict.rate_limit.remaining for verdict in verdicts] == [1, 0, 29, 0, 0, 28]
    assert (await usage(auth, other_id)).images_reserved == 0


async def test_a_revoked_key_is_refused_everywhere_within_two_seconds(start):
    async with start() as one, start() as two:
        organization_id, key_id, secret = await one.new_key(requests_per_minute=10**9)
        for replica in (one, two):
            assert granted(await replica.authorize(check_for(secret))) == 1
        await one(pb.RevokeKeyRequest(organization_id=organization_id, key_id=key_id))
        async with lived() as since:
            assert granted(await one.authorize(check_for(secret))) == 0  # at once where it was revoked
            while granted(await two.authorize(check_for(secret))):
                assert since.s < 2.0, "another replica believes what it knows of a revoked key for too long"
        listed = (await two(pb.ListKeysRequest(organization_id=organization_id))).keys
        assert [key.key_id for key in listed] == [key_id]
        assert listed[0].HasField("revoked_at")
        again = await two(pb.RevokeKeyRequest(organization_id=organization_id, key_id=key_id))
        assert again.key.revoked_at == listed[0].revoked_at


async def test_a_key_stops_when_it_expires(auth):
    organization_id, _, _ = await auth.new_key(requests_per_minute=10**9)
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    key = await auth(
        pb.CreateKeyRequest(organization_id=organization_id, name="short", expires_at=timestamp(expires_at))
    )
    asked_at = datetime.now(UTC)
    while granted(await auth.authorize(check_for(key.secret))):
        assert asked_at < expires_at, "it was asked for after its end, and still let in"
        asked_at = datetime.now(UTC)
    assert datetime.now(UTC) >= expires_at, "it was refused before its end"


async def test_a_limit_of_a_thousand_million_takes_a_full_list(auth):
    organization_id, _, secret = await auth.new_key("free", requests_per_minute=10**9)
    verdicts = await auth.authorize(*[check_for(secret) for _ in range(256)])
    assert granted(verdicts) == 256
    assert verdicts[-1].rate_limit.remaining == 10**9 - 256
    stands = await usage(auth, organization_id)
    assert (stands.rate_limit.limit, stands.rate_limit.remaining) == (10**9, 10**9 - 256)
    assert stands.organization.limits.images_per_month == 100


async def test_limits_of_zero_fall_back_to_the_plan_and_a_new_plan_brings_its_own(auth):
    organization_id, _, secret = await auth.new_key("free", requests_per_minute=3, queued_runs=7)
    changed = await auth(
        pb.UpdateOrganizationRequest(
            organization_id=organization_id, plan=account_pb2.PLAN_BASIC, limits=account_pb2.Limits(queued_runs=8)
        )
    )
    assert changed.organization.limits == account_pb2.Limits(
        requests_per_minute=30, images_per_month=1000, queued_runs=8
    )
    assert (await auth.authorize(check_for(secret)))[0].rate_limit.limit == 30


async def test_the_month_is_full_in_order_of_arrival_and_a_refusal_still_counts_the_request(auth):
    organization_id, _, secret = await auth.new_key("free", images_per_month=3)
    runs = [run_id() for _ in range(5)]
    verdicts = await auth.authorize(*[check_for(secret, reserve=run) for run in runs])
    assert [verdict.error.reason for verdict in verdicts] == [0, 0, 0, *[reasons.ERROR_REASON_QUOTA_EXCEEDED] * 2]
    assert verdicts[3].error.metadata == {"limit": "3"}
    assert verdicts[3].error.retry_after_s > 0
    assert [verdict.rate_limit.remaining for verdict in verdicts] == [9, 8, 7, 6, 5]
    assert granted(await auth.authorize(check_for(secret))) == 1  # what needs no image goes on

    again = await auth.authorize(check_for(secret, reserve=runs[0]))  # held already: not charged twice
    assert granted(again) == 1
    await auth(pb.ReleaseReservationsRequest(run_ids=[runs[0], runs[0], run_id()]))
    await auth(pb.ReleaseReservationsRequest(run_ids=[runs[0]]))
    assert (await usage(auth, organization_id)).images_reserved == 2
    assert granted(await auth.authorize(check_for(secret, reserve=runs[3]), check_for(secret, reserve=runs[4]))) == 1


async def test_concurrent_reservations_of_two_replicas_never_pass_the_quota(start):
    async with start() as one, start() as two:
        organization_id, _, secret = await one.new_key(requests_per_minute=10**9, images_per_month=37)
        answers = await asyncio.gather(
            *(replica.authorize(check_for(secret, reserve=run_id())) for replica in (one, two) * 60)
        )
        assert sum(granted(answer) for answer in answers) == 37
        assert (await usage(one, organization_id)).images_reserved == 37


async def test_settling_counts_each_completed_run_once_in_any_order(auth, repository):
    organization_id, _, secret = await auth.new_key()
    month = datetime.now(UTC).date().replace(day=1)
    done, failed, both, lost = (run_id() for _ in range(4))
    await auth.authorize(*[check_for(secret, reserve=run) for run in (done, failed, both)])

    def said(run: str, *, completed: bool) -> Settlement:
        return Settlement(run, completed, organization_id, month)

    assert await repository.settle([said(done, completed=True), said(failed, completed=False)]) == 2
    assert await repository.settle([said(done, completed=True), said(failed, completed=False)]) == 0
    assert await repository.settle([said(done, completed=False)]) == 0  # a late release changes nothing
    await repository.settle([Settlement(both, completed=False)])  # released by mistake, then completed after all
    await repository.settle([said(both, completed=True)])
    await repository.settle([said(lost, completed=True)])  # its reservation went with a crash
    await repository.settle([said(lost, completed=True), Settlement(run_id(), completed=False)])
    stands = await usage(auth, organization_id)
    assert (stands.images_used, stands.images_reserved) == (3, 0)


async def test_concurrent_duplicates_of_settlements_and_reservations_agree(auth, repository):
    organization_id, _, secret = await auth.new_key(requests_per_minute=10**9)
    month = datetime.now(UTC).date().replace(day=1)
    runs = [run_id() for _ in range(40)]
    settlements = [Settlement(run, number % 2 == 0, organization_id, month) for number, run in enumerate(runs)]
    await auth.authorize(*[check_for(secret, reserve=run) for run in runs])
    await asyncio.gather(
        *(repository.settle(settlements[:: 1 if number % 2 else -1]) for number in range(6)),
        *(auth.authorize(check_for(secret, reserve=run_id())) for _ in range(20)),
    )
    stands = await usage(auth, organization_id)
    assert (stands.images_used, stands.images_reserved) == (20, 20)


async def test_the_secret_is_stored_nowhere(auth, database):
    organization_id, _, secret = await auth.new_key()
    rows = await database.fetch("SELECT k::text AS row FROM auth.keys AS k")
    assert hashlib.sha256(secret.encode()).hexdigest() in rows[0]["row"]
    assert secret not in rows[0]["row"]
    key = (await auth(pb.ListKeysRequest(organization_id=organization_id))).keys[0]
    assert key.prefix == secret[:9]
    assert len(key.permissions) == len(account_pb2.Permission.values()) - 1


async def test_what_counts_for_nobody_is_no_use_of_a_key(auth, database):
    _, key_id, secret = await auth.new_key()
    last_use = LastUse()
    repository = Repository(database)
    sessions = Sessions(repository, PeopleRepository(database))
    authorizer = Authorizer(repository, KeyCache(), last_use, sessions, None)
    for is_uncounted in (True, False):
        check = Check(keys.digest(secret), Permission.GENERATIONS_READ, is_uncounted=is_uncounted)
        (verdict,) = await authorizer.authorize([check])
        assert verdict.error is None
        assert (key_id in last_use._pending) is not is_uncounted


async def test_the_last_use_is_noted_to_the_minute(auth, repository):
    organization_id, key_id, _ = await auth.new_key()
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    await repository.touch_keys({key_id: minute})
    await repository.touch_keys({key_id: minute - timedelta(minutes=1)})
    key = (await auth(pb.ListKeysRequest(organization_id=organization_id))).keys[0]
    assert key.last_used_at == timestamp(minute)


@pytest.mark.parametrize(
    ("request_", "error", "param"),
    [
        (pb.CreateOrganizationRequest(name="", plan=account_pb2.PLAN_FREE), errors.InvalidParameter, "name"),
        (pb.CreateOrganizationRequest(name="x" * 101, plan=account_pb2.PLAN_FREE), errors.InvalidParameter, "name"),
        (pb.CreateOrganizationRequest(name="x"), errors.InvalidParameter, "plan"),
        (
            pb.CreateOrganizationRequest(name="x", plan=account_pb2.PLAN_FREE, organization_id="nope"),
            errors.InvalidParameter,
            "organization_id",
        ),
        (
            pb.UpdateOrganizationRequest(organization_id="org_x", limits=account_pb2.Limits(queued_runs=-1)),
            errors.InvalidParameter,
            "limits.queued_runs",
        ),
        (pb.UpdateOrganizationRequest(organization_id="org_x"), errors.NotFound, None),
        (pb.CreateKeyRequest(organization_id="org_x", name="k"), errors.NotFound, None),
        (pb.RevokeKeyRequest(organization_id="org_x", key_id="key_x"), errors.NotFound, None),
        (pb.GetUsageRequest(organization_id="org_x"), errors.NotFound, None),
        (pb.GetUsageRequest(organization_id="org_\x00"), errors.NotFound, None),
        (pb.ListKeysRequest(organization_id="\x00"), errors.NotFound, None),
        (pb.RevokeKeyRequest(organization_id="org_x", key_id="key_\x00"), errors.NotFound, None),
        (
            pb.CreateKeyRequest(organization_id="org_x", name="k", expires_at=Timestamp(seconds=10**15)),
            errors.InvalidParameter,
            "expires_at",
        ),
        (
            pb.CreateKeyRequest(organization_id="org_x", name="k", expires_at=Timestamp(seconds=1)),
            errors.InvalidParameter,
            "expires_at",
        ),
        (pb.AuthorizeRequest(checks=[pb.Check()] * 257), errors.InvalidParameter, "checks"),
        (
            pb.AuthorizeRequest(checks=[pb.Check(reserve_run_id="x")]),
            errors.InvalidParameter,
            "checks.reserve_run_id",
        ),
        (pb.ReleaseReservationsRequest(run_ids=["x"] * 1001), errors.InvalidParameter, "run_ids"),
    ],
)
async def test_bad_requests_are_refused_by_name(auth, request_, error, param):
    with pytest.raises(error) as refusal:
        await auth(request_)
    assert refusal.value.metadata.get("param") == param


async def test_a_key_is_another_organizations_secret_business(auth):
    _, key_id, secret = await auth.new_key()
    other_id, _, _ = await auth.new_key()
    with pytest.raises(errors.NotFound):
        await auth(pb.RevokeKeyRequest(organization_id=other_id, key_id=key_id))
    assert granted(await auth.authorize(check_for(secret))) == 1


async def test_a_chosen_organization_id_finds_its_own_again(auth):
    request = pb.CreateOrganizationRequest(name="Local", plan=account_pb2.PLAN_PREMIUM, organization_id="org_local")
    first = await auth(request)
    request.name = "Another"
    assert await auth(request) == pb.CreateOrganizationResponse(organization=first.organization)


async def test_no_checks_get_no_verdicts(auth):
    assert await auth.authorize() == []
