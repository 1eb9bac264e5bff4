"""Keys end with what their makers may do, and nobody makes one who may not: over gRPC and a real database."""

from __future__ import annotations

import asyncio

import pytest
from imagineo import errors, keys, tokens
from imagineo.permissions import PERMISSIONS_OF
from imagineo.postgres.migrations import migrate
from imagineo.rpc.channel import connect
from imagineo.v1 import account_pb2, account_service_pb2_grpc, auth_service_pb2, member_pb2
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import error_reason_pb2 as reasons

from tests.integration.auth.conftest import MIGRATIONS
from tests.integration.auth.people import PASSWORD, People, fresh_client, until
from tests.support.deadlines import lived

pytestmark = pytest.mark.integration

ADMIN, DEVELOPER = account_pb2.ROLE_ADMIN, account_pb2.ROLE_DEVELOPER
OWNER, VIEWER = account_pb2.ROLE_OWNER, account_pb2.ROLE_VIEWER
READ = account_pb2.PERMISSION_GENERATIONS_READ
WRITES_MEMBERS, WRITES_KEYS = account_pb2.PERMISSION_MEMBERS_WRITE, account_pb2.PERMISSION_KEYS_WRITE


def by_key(key_id: str) -> member_pb2.Actor:
    return member_pb2.Actor(key_id=key_id)


async def make_key(people, organization_id, actor, *permissions):
    request = auth_service_pb2.CreateKeyRequest(
        organization_id=organization_id, name="nightly", permissions=permissions or [READ], actor=actor
    )
    return await people.auth(request)


async def remove(people, by, whom) -> None:
    await people(pb.RemoveMemberRequest(organization_id=by.organization_id, user_id=whom.user_id, actor=by.actor))


async def give(people, by, whom, role) -> None:
    await people(
        pb.ChangeRoleRequest(organization_id=by.organization_id, user_id=whom.user_id, role=role, actor=by.actor)
    )


async def works(client, secret: str) -> bool:
    check = auth_service_pb2.Check(key_sha256=keys.digest(secret), permission=READ, is_uncounted=True)
    [verdict] = await client.authorize(check)
    assert verdict.error.reason in (0, reasons.ERROR_REASON_INVALID_API_KEY)
    return not verdict.HasField("error")


async def test_a_removed_members_keys_and_what_those_made_end_everywhere_within_two_seconds(start):
    async with start() as one, start() as two, connect(f"127.0.0.1:{one.port}") as channel:
        people = People(account_service_pb2_grpc.AccountServiceStub(channel), one)
        ada = await people.sign_up()
        bo = await people.joined(ada, DEVELOPER)
        first = await make_key(people, ada.organization_id, bo.actor, READ, WRITES_KEYS)
        second = await make_key(people, ada.organization_id, by_key(first.key.key_id), READ, WRITES_KEYS)
        third = await make_key(people, ada.organization_id, by_key(second.key.key_id))
        hers = await make_key(people, ada.organization_id, ada.actor)
        operators = await make_key(people, ada.organization_id, member_pb2.Actor())
        assert {made.key.created_by_user_id for made in (first, second, third)} == {bo.user_id}
        assert (hers.key.created_by_user_id, operators.key.created_by_user_id) == (ada.user_id, "")
        for replica in (one, two):
            assert all([await works(replica, made.secret) for made in (first, second, third, hers, operators)])

        await remove(people, ada, bo)

        async with lived() as since:
            for made in (first, second, third):
                assert not await works(one, made.secret)
                while await works(two, made.secret):
                    assert since.s < 2.0, "another replica believes what it knows of a revoked key for too long"
        assert await works(one, hers.secret)
        assert await works(one, operators.secret)
        entries = (await people(pb.ListAuditEntriesRequest(organization_id=ada.organization_id))).entries
        told = [entry for entry in entries if entry.action == "key.revoked"]
        assert {entry.subject_id for entry in told} == {made.key.key_id for made in (first, second, third)}
        assert {entry.user_id for entry in told} == {ada.user_id}
        assert {(entry.details["made_by"], entry.details["because"]) for entry in told} == {
            (bo.email, "member.removed")
        }


async def test_who_leaves_by_themselves_takes_their_keys_along(people):
    ada = await people.sign_up()
    bo = await people.joined(ada, DEVELOPER)
    made = await make_key(people, ada.organization_id, bo.actor)
    await people(pb.RemoveMemberRequest(organization_id=ada.organization_id, user_id=bo.user_id, actor=bo.actor))
    assert not await works(people.auth, made.secret)


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        (ADMIN, DEVELOPER, {READ}),
        (ADMIN, VIEWER, set()),
        (DEVELOPER, VIEWER, set()),
        (OWNER, ADMIN, {READ, WRITES_MEMBERS}),
        (VIEWER, DEVELOPER, set()),
        (DEVELOPER, ADMIN, {READ}),
    ],
)
async def test_another_role_leaves_the_keys_that_it_could_make(people, before, after, stays):
    ada = await people.sign_up()
    bo = await people.joined(ada, before)
    made = {}
    for permission in (READ, WRITES_MEMBERS, account_pb2.PERMISSION_AUDIT_READ):
        wanted = {READ, permission}
        if wanted <= PERMISSIONS_OF[before] and before != VIEWER:
            made[permission] = await make_key(people, ada.organization_id, bo.actor, *wanted)
    assert bool(made) == (before != VIEWER)
    await give(people, ada, bo, after)
    assert {permission for permission, each in made.items() if await works(people.auth, each.secret)} == stays


async def test_nobody_makes_a_key_that_they_may_not_make_whatever_the_gateway_believes(people):
    ada = await people.sign_up()
    bo, cy = await people.joined(ada, DEVELOPER), await people.joined(ada, VIEWER)
    stranger = await people.sign_up()
    reads = await make_key(people, ada.organization_id, bo.actor)
    makes = await make_key(people, ada.organization_id, bo.actor, READ, WRITES_KEYS)
    for actor, wanted in (
        (cy.actor, [READ]),
        (stranger.actor, [READ]),
        (bo.actor, [READ, WRITES_MEMBERS]),
        (bo.actor, list(PERMISSIONS_OF[OWNER])),
        (by_key(reads.key.key_id), [READ]),
        (by_key(makes.key.key_id), [READ, account_pb2.PERMISSION_GENERATIONS_WRITE]),
        (by_key("key_" + "0" * 26), [READ]),
    ):
        with pytest.raises(errors.PermissionDenied):
            await make_key(people, ada.organization_id, actor, *wanted)
    await people.auth(auth_service_pb2.RevokeKeyRequest(organization_id=ada.organization_id, key_id=makes.key.key_id))
    with pytest.raises(errors.PermissionDenied):
        await make_key(people, ada.organization_id, by_key(makes.key.key_id))
    listed = await people.auth(auth_service_pb2.ListKeysRequest(organization_id=ada.organization_id))
    assert {key.key_id for key in listed.keys} == {reads.key.key_id, makes.key.key_id}


async def test_no_key_outlives_a_removal_that_it_races(people):
    ada = await people.sign_up()
    for _ in range(3):
        bo = await people.joined(ada, DEVELOPER)
        making = [make_key(people, ada.organization_id, bo.actor) for _ in range(6)]
        answers = await asyncio.gather(*making, remove(people, ada, bo), return_exceptions=True)
        made = [answer for answer in answers if isinstance(answer, auth_service_pb2.CreateKeyResponse)]
        refused = [answer for answer in answers if isinstance(answer, errors.PermissionDenied)]
        assert len(made) + len(refused) == 6
        assert not any([await works(people.auth, each.secret) for each in made])


async def test_an_invitation_by_a_removed_members_key_is_no_way_back(people):
    ada = await people.sign_up()
    bo = await people.joined(ada, ADMIN)
    key = await make_key(people, ada.organization_id, bo.actor, READ, WRITES_MEMBERS)
    invited = await people(
        pb.CreateInvitationRequest(
            organization_id=ada.organization_id, email=bo.email[1:], role=ADMIN, actor=by_key(key.key.key_id)
        )
    )
    await remove(people, ada, bo)
    with pytest.raises(errors.NotFound):
        await people(
            pb.AcceptInvitationRequest(
                token_sha256=tokens.digest(invited.token), password=PASSWORD, name="Bo", client=fresh_client()
            )
        )


async def test_both_logs_tell_that_a_session_went_elsewhere_and_neither_names_the_other(people):
    ada, bo = await people.sign_up(), await people.sign_up()
    joined = await people.joined(ada, VIEWER)
    invited = await people(
        pb.CreateInvitationRequest(organization_id=bo.organization_id, email=joined.email, role=VIEWER, actor=bo.actor)
    )
    await people(pb.AcceptInvitationRequest(token_sha256=tokens.digest(invited.token), password=PASSWORD))
    client = fresh_client()
    move = pb.SwitchOrganizationRequest(session_sha256=joined.digest, organization_id=bo.organization_id, client=client)
    for _ in range(2):  # the second changes nothing
        await people(move)
    for organization_id, other_id, action in (
        (ada.organization_id, bo.organization_id, "user.session_left"),
        (bo.organization_id, ada.organization_id, "user.session_entered"),
    ):
        log = await people(pb.ListAuditEntriesRequest(organization_id=organization_id))
        [entry] = [each for each in log.entries if each.action.startswith("user.session_")]
        assert (entry.action, entry.user_id, entry.email) == (action, joined.user_id, joined.email)
        assert (entry.address, entry.subject_id) == (client.address, joined.session_id)
        assert other_id not in str(log)


async def test_the_makers_of_the_keys_that_there_are_are_found_in_the_log(people, database, auth_dsn):
    ada = await people.sign_up()
    first = await make_key(people, ada.organization_id, ada.actor, READ, WRITES_KEYS)
    await make_key(people, ada.organization_id, by_key(first.key.key_id))
    await make_key(people, ada.organization_id, member_pb2.Actor())
    await database.execute(
        "DROP TABLE auth.mail_verifications; ALTER TABLE auth.users DROP COLUMN verified_at, DROP COLUMN disabled_at;"
        "ALTER TABLE auth.keys DROP COLUMN created_by_user_id;"
        "UPDATE auth.alembic_version SET version_num = '0004'"
    )
    await asyncio.to_thread(migrate, auth_dsn, "auth", MIGRATIONS)
    rows = await until(lambda: database.fetch("SELECT created_by_user_id FROM auth.keys ORDER BY key_id"), holds=bool)
    assert [row["created_by_user_id"] for row in rows] == [ada.user_id, ada.user_id, None]
