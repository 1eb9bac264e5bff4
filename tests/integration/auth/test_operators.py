"""What operators do to users, at the program's own parser, over a real database beside a running server."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from imagineo import errors, keys, tokens
from imagineo.rpc.channel import connect
from imagineo.settings import Secret
from imagineo.v1 import account_pb2, account_service_pb2_grpc, auth_service_pb2
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import error_reason_pb2 as reasons

from services.auth import __main__ as program
from services.auth.administration import administer
from services.auth.people import Client
from services.auth.people_repository import PeopleRepository
from services.auth.settings import AdminSettings
from tests.integration.auth.people import PASSWORD, People, fresh_client
from tests.support.deadlines import lived

pytestmark = pytest.mark.integration

READ = account_pb2.PERMISSION_GENERATIONS_READ


@pytest.fixture
def operate(auth_dsn: str) -> Any:
    """Runs a command as the program does."""

    async def run(*arguments: str, typed: str = "") -> dict[str, Any]:
        options = program._parser().parse_args(arguments)
        settings = AdminSettings(postgres_dsn=Secret(auth_dsn))
        return await asyncio.to_thread(administer, settings, options, io.StringIO(typed))

    return run


def shown(secret: str) -> auth_service_pb2.Check:
    return auth_service_pb2.Check(key_sha256=keys.digest(secret), permission=READ, is_uncounted=True)


async def refused_within_two_seconds(people, check) -> None:
    """A running server believes what it knows for a second."""
    async with lived() as since:
        while not (verdict := await people.verdict(check)).HasField("error"):
            assert since.s < 2.0, "a running server believes what it knows for too long"
    assert verdict.error.reason in (reasons.ERROR_REASON_INVALID_SESSION, reasons.ERROR_REASON_INVALID_API_KEY)


async def test_a_password_is_set_by_hand_and_ends_the_sessions(people, operate):
    ada = await people.sign_up("ada@example.org")
    done = await operate("set-password", "--email", "ADA@example.org", typed="another long one\n")
    assert (done["user_id"], done["sessions_ended"]) == (ada.user_id, 1)
    await refused_within_two_seconds(people, ada.check(READ, is_uncounted=True))
    with pytest.raises(errors.InvalidCredentials):
        await people.log_in(ada.email)
    await people.log_in(ada.email, "another long one")
    with pytest.raises(errors.InvalidParameter):
        await operate("set-password", "--email", ada.email, typed="qwertyuiop\n")
    with pytest.raises(errors.NotFound, match=r"nobody@example\.org"):
        await operate("set-password", "--email", "nobody@example.org", typed="another long one\n")


async def test_a_disabled_user_is_nobody_until_they_are_enabled(people, operate, database):
    ada = await people.sign_up()
    bo = await people.joined(ada, account_pb2.ROLE_ADMIN)
    key = await people.auth(
        auth_service_pb2.CreateKeyRequest(
            organization_id=ada.organization_id, name="k", permissions=[READ], actor=bo.actor
        )
    )
    invited = await people(
        pb.CreateInvitationRequest(
            organization_id=ada.organization_id, email="friend@example.org", role=account_pb2.ROLE_ADMIN, actor=bo.actor
        )
    )
    reset = tokens.new_token()
    rows = PeopleRepository(database)
    assert await rows.open_reset(bo.user_id, tokens.digest(reset))
    verified = await rows.credentials(bo.email, "")

    done = await operate("disable-user", "--email", bo.email)

    assert (done["is_disabled"], done["sessions_ended"]) == (True, 1)
    await refused_within_two_seconds(people, bo.check(READ, is_uncounted=True))
    await refused_within_two_seconds(people, shown(key.secret))
    said = []
    for email, password in ((bo.email, PASSWORD), ("nobody@example.org", PASSWORD)):
        with pytest.raises(errors.InvalidCredentials) as refusal:
            await people.log_in(email, password)
        said.append(refusal.value.detail())
    assert said[0] == said[1]
    with pytest.raises(errors.InvalidCredentials):  # a log-in that was in flight
        await rows.log_in(verified, tokens.digest(tokens.new_token()), Client())
    with pytest.raises(errors.NotFound):
        await people(
            pb.ResetPasswordRequest(
                token_sha256=tokens.digest(reset), new_password="another long one", client=fresh_client()
            )
        )
    assert not await rows.open_reset(bo.user_id, tokens.digest(tokens.new_token()))
    with pytest.raises(errors.NotFound):
        await people(pb.GetInvitationRequest(token_sha256=tokens.digest(invited.token)))

    await operate("enable-user", "--email", bo.email)

    await people.log_in(bo.email)
    async with lived() as since:
        while (await people.verdict(shown(key.secret))).HasField("error"):
            assert since.s < 2.0, "a running server believes what it knows for too long"
    actions = await people.actions(ada.organization_id)
    assert {"user.disabled", "user.enabled", "invitation.revoked"} <= set(actions)


async def test_the_platforms_administrators_are_made_and_unmade_by_hand(people, operate):
    ada = await people.sign_up()
    listing = pb.ListOrganizationsRequest(actor=ada.actor)
    with pytest.raises(errors.PermissionDenied):
        await people(listing)
    done = await operate("grant-administrator", "--email", ada.email)
    assert done["is_administrator"]
    assert (await people(listing)).organizations
    done = await operate("withdraw-administrator", "--email", ada.email)
    assert not done["is_administrator"]
    with pytest.raises(errors.PermissionDenied):
        await people(listing)
    assert {"user.administrator_made", "user.administrator_unmade"} <= set(await people.actions(ada.organization_id))


async def test_where_sign_up_is_closed_invitations_still_work(start, operate):
    made = await operate("create-organization", "--name", "Studio", "--plan", "free")
    organization_id = made["organization_id"]
    await operate(
        "create-user", organization_id, "--email", "root@example.org", "--name", "Root", typed=f"{PASSWORD}\n"
    )
    async with start(sign_up_closed=True) as auth, connect(f"127.0.0.1:{auth.port}") as channel:
        people = People(account_service_pb2_grpc.AccountServiceStub(channel), auth)
        with pytest.raises(errors.FailedPrecondition, match="Sign-up is closed"):
            await people.sign_up()
        root = await people.log_in("root@example.org")
        joined = await people.joined(root, account_pb2.ROLE_VIEWER)
        assert joined.organization_id == organization_id
