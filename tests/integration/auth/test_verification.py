"""Mail addresses are proven by a mailed link: once, in time, asked for again; and barred before, where that is set."""

from __future__ import annotations

import contextlib
import email as mail
import re
from collections.abc import AsyncIterator
from email.policy import default
from pathlib import Path

import pytest
from imagineo import errors, tokens
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.v1 import account_pb2, account_service_pb2_grpc
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import error_reason_pb2 as reasons

from services.auth.verification_repository import SQL
from tests.integration.auth.people import PASSWORD, People, Person, fresh_client, until

pytestmark = pytest.mark.integration

READ, WRITE = account_pb2.PERMISSION_GENERATIONS_READ, account_pb2.PERMISSION_GENERATIONS_WRITE
KEYS, INVITE = account_pb2.PERMISSION_KEYS_WRITE, account_pb2.PERMISSION_MEMBERS_WRITE


@contextlib.asynccontextmanager
async def mailing(start, folder: Path, **settings: object) -> AsyncIterator[People]:
    named = {"mail_url": folder.as_uri(), "public_url": "https://images.example.org", **settings}
    async with start(**named) as auth, connect(f"127.0.0.1:{auth.port}") as channel:
        yield People(account_service_pb2_grpc.AccountServiceStub(channel), auth)


async def links(folder: Path, person: Person, *, path: str = "verify-email", count: int = 1) -> list[str]:
    """The tokens of the letters that a person got, the oldest first, once there are so many."""

    async def arrived() -> list[str]:
        letters = [mail.message_from_bytes(file.read_bytes(), policy=default) for file in sorted(folder.glob("*.eml"))]
        texts = [letter.get_content() for letter in letters if letter["To"] == person.email]
        return [found[1] for text in texts if (found := re.search(rf"https://images.example.org/{path}#(\S+)", text))]

    return await until(arrived, holds=lambda found: len(found) >= count)


def taking(token: str) -> pb.VerifyEmailRequest:
    return pb.VerifyEmailRequest(token_sha256=tokens.digest(token), client=fresh_client())


async def standing(people: People, person: Person) -> tuple[bool, bool]:
    found = await people(pb.GetSessionRequest(session_sha256=person.digest))
    return found.user.is_verified, found.is_verification_open


async def test_every_query_around_verification_prepares(database: Database):
    async with database.connection() as connection:
        for sql in SQL.values():
            await connection.prepare(sql)


async def test_who_signs_up_gets_a_link_that_proves_the_address_once(start, tmp_path):
    async with mailing(start, tmp_path) as people:
        ada = await people.sign_up()
        assert await standing(people, ada) == (False, True)
        verdict = await people.verdict(ada.check(WRITE))
        assert not verdict.HasField("error")  # nothing is barred unless that is set
        [token] = await links(tmp_path, ada)

        await people(taking(token))

        assert await standing(people, ada) == (True, False)
        assert (await people.actions(ada.organization_id))[0] == "user.email_verified"
        for again in (token, tokens.new_token()):
            with pytest.raises(errors.NotFound):
                await people(taking(again))
        with pytest.raises(errors.FailedPrecondition):
            await people(pb.RequestVerificationRequest(session_sha256=ada.digest, client=fresh_client()))


async def test_another_link_can_be_asked_for_and_one_that_is_used_ends_the_others(start, tmp_path):
    async with mailing(start, tmp_path) as people:
        ada = await people.sign_up()
        await links(tmp_path, ada)
        await people(pb.RequestVerificationRequest(session_sha256=ada.digest, client=fresh_client()))
        first, second = await links(tmp_path, ada, count=2)

        await people(taking(second))

        with pytest.raises(errors.NotFound):
            await people(taking(first))
        stranger = pb.RequestVerificationRequest(session_sha256=tokens.digest(tokens.new_token()))
        with pytest.raises(errors.InvalidSession):
            await people(stranger)


async def test_letters_to_one_address_are_bounded(start, tmp_path):
    async with mailing(start, tmp_path) as people:
        ada = await people.sign_up()
        request = pb.RequestVerificationRequest(session_sha256=ada.digest)
        for _ in range(3):
            request.client.CopyFrom(fresh_client())
            await people(request)
        request.client.CopyFrom(fresh_client())
        with pytest.raises(errors.RateLimited):
            await people(request)


async def test_a_link_expires(start, tmp_path, database: Database):
    async with mailing(start, tmp_path) as people:
        ada = await people.sign_up()
        [token] = await links(tmp_path, ada)
        await database.execute("UPDATE auth.mail_verifications SET expires_at = now() - interval '1 second'")
        with pytest.raises(errors.NotFound):
            await people(taking(token))
        assert await standing(people, ada) == (False, True)


async def test_a_password_reset_by_mail_proves_the_address_too(start, tmp_path):
    async with mailing(start, tmp_path) as people:
        ada = await people.sign_up()
        await people(pb.RequestPasswordResetRequest(email=ada.email, client=fresh_client()))

        [token] = await links(tmp_path, ada, path="reset-password")
        new = pb.ResetPasswordRequest(
            token_sha256=tokens.digest(token), new_password="a wholly new one", client=fresh_client()
        )
        await people(new)
        again = await people.log_in(ada.email, "a wholly new one")
        assert await standing(people, again) == (True, False)


async def test_an_invitation_proves_nothing_because_its_maker_sees_the_link(start, tmp_path):
    async with mailing(start, tmp_path) as people:
        ada = await people.sign_up()
        bo = await people.joined(ada, account_pb2.ROLE_DEVELOPER)
        assert await standing(people, bo) == (False, True)
        [token] = await links(tmp_path, bo)
        await people(taking(token))
        assert await standing(people, bo) == (True, False)


async def test_whom_an_operator_makes_is_vouched_for(start, tmp_path):
    async with mailing(start, tmp_path) as people:
        ada = await people.sign_up()
        made = pb.CreateUserRequest(
            email="eve@example.org",
            password=PASSWORD,
            name="Eve",
            organization_id=ada.organization_id,
            role=account_pb2.ROLE_VIEWER,
        )
        assert (await people(made)).user.is_verified
        assert await standing(people, await people.log_in("eve@example.org")) == (True, False)


async def test_without_mail_nothing_is_asked_for(people):
    ada = await people.sign_up()
    assert await standing(people, ada) == (False, False)
    with pytest.raises(errors.FailedPrecondition):
        await people(pb.RequestVerificationRequest(session_sha256=ada.digest, client=fresh_client()))


async def test_where_it_is_required_who_is_not_verified_only_looks(start, tmp_path):
    async with mailing(start, tmp_path, verified_mail_required=True) as people:
        ada = await people.sign_up()
        seen = await people.verdict(ada.check(READ))
        assert not seen.HasField("error")
        for permission in (WRITE, KEYS, INVITE):
            refused = (await people.verdict(ada.check(permission))).error
            assert refused.reason == reasons.ERROR_REASON_PERMISSION_DENIED
            assert refused.message.startswith("Confirm your mail address first")
        [token] = await links(tmp_path, ada)

        await people(taking(token))

        async def verdict():
            return await people.verdict(ada.check(WRITE, is_uncounted=True))

        await until(verdict, holds=lambda found: not found.HasField("error"))
