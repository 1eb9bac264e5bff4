"""Sign-up, log-in, sessions and passwords, over gRPC and a real database."""

from __future__ import annotations

import asyncio
import email as mail
import time
from email.policy import default
from urllib.parse import urlsplit

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters
from imagineo import errors, keys, tokens
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.v1 import account_pb2, account_service_pb2_grpc, auth_service_pb2
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import error_reason_pb2 as reasons

from services.auth import throttle
from services.auth.people import Client
from services.auth.people_repository import SQL, PeopleRepository
from services.auth.repository import SQL as QUERIES
from services.auth.repository import Repository
from tests.integration.auth.people import PASSWORD, People, fresh_client, until
from tests.support.deadlines import lived

pytestmark = pytest.mark.integration

ADMIT = QUERIES["admit"]


async def test_every_query_around_people_prepares(database):
    async with database.connection() as connection:
        for sql in SQL.values():
            await connection.prepare(sql)


async def test_who_signs_up_owns_a_free_organization_and_may_do_all_of_it(people):
    ada = await people.sign_up("Ada@Example.org")
    found = await people(pb.GetSessionRequest(session_sha256=ada.digest))
    assert (found.user.email, found.user.is_administrator) == ("Ada@Example.org", False)
    assert [(each.organization_name, each.role) for each in found.memberships] == [("Studio", account_pb2.ROLE_OWNER)]
    verdict = await people.verdict(ada.check(account_pb2.PERMISSION_AUDIT_READ))
    assert not verdict.HasField("error")
    principal = verdict.principal
    assert (principal.user_id, principal.organization_id, principal.key_id) == (ada.user_id, ada.organization_id, "")
    assert (principal.role, principal.plan) == (account_pb2.ROLE_OWNER, account_pb2.PLAN_FREE)
    assert len(principal.permissions) == len(account_pb2.Permission.values()) - 1
    assert not principal.is_restricted


async def test_a_session_counts_as_a_key_does_and_an_uncounted_check_counts_nothing(people):
    ada = await people.sign_up()
    for _ in range(20):
        verdict = await people.verdict(ada.check(is_uncounted=True))
        assert not verdict.HasField("error")
        assert not verdict.HasField("rate_limit")
    counted = [await people.verdict(ada.check()) for _ in range(11)]
    assert [verdict.rate_limit.remaining for verdict in counted] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert counted[10].error.reason == reasons.ERROR_REASON_RATE_LIMITED
    with pytest.raises(errors.InvalidParameter):
        await people.verdict(ada.check(is_uncounted=True, reserve_run_id="gen_" + "0" * 26))


async def test_pages_count_for_their_user_over_all_sessions_and_never_for_the_organization(people):
    ada = await people.sign_up()
    bo = await people.joined(ada, account_pb2.ROLE_VIEWER)
    again = await people.log_in(bo.email)
    loads = [person.check(is_page=True) for person in (bo, again) for _ in range(120)]
    verdicts = await people.auth.authorize(*loads)
    assert not [verdict for verdict in verdicts if verdict.HasField("error")]
    [over] = await people.auth.authorize(again.check(is_page=True))
    assert over.error.reason == reasons.ERROR_REASON_RATE_LIMITED
    assert (over.rate_limit.limit, over.rate_limit.remaining) == (240, 0)
    assert 0 < over.error.retry_after_s <= 60
    [hers, counted] = await people.auth.authorize(ada.check(is_page=True), ada.check())
    assert (hers.rate_limit.remaining, counted.rate_limit.remaining) == (239, 9)
    with pytest.raises(errors.InvalidParameter):
        await people.verdict(ada.check(is_page=True, reserve_run_id="gen_" + "0" * 26))


async def test_a_key_counts_for_its_organization_whatever_it_is_said_to_load(auth):
    _, _, secret = await auth.new_key("free")
    page = auth_service_pb2.Check(
        key_sha256=keys.digest(secret), permission=account_pb2.PERMISSION_MODELS_READ, is_page=True
    )
    verdicts = await auth.authorize(*[page] * 11)
    assert [verdict.HasField("error") for verdict in verdicts] == [False] * 10 + [True]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"password": "short"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": "password12"}, "password"),
        ({"password": "MALLORY@example.org", "email": "mallory@example.org"}, "password"),
        ({"email": "nobody"}, "email"),
        ({"email": "a,b@example.org"}, "email"),
        ({"name": " "}, "name"),
        ({"organization_name": "x" * 101}, "organization_name"),
        ({"organization_name": "a\nb"}, "organization_name"),
    ],
)
async def test_a_sign_up_that_is_not_good_names_the_field_and_makes_nothing(people, database, changes, param):
    fields = {"email": "mallory@example.org", "password": PASSWORD, "name": "M", "organization_name": "M"} | changes
    with pytest.raises(errors.InvalidParameter) as refusal:
        await people(pb.SignUpRequest(**fields, client=fresh_client()))
    assert refusal.value.metadata["param"] == param
    assert await database.fetchval("SELECT count(*) FROM auth.users") == 0
    assert await database.fetchval("SELECT count(*) FROM auth.organizations") == 0


async def test_an_address_is_taken_whatever_its_case_and_whoever_comes_first_has_it(people, database):
    wanted = [people.sign_up(address) for address in ("ada@example.org", "ADA@example.org", "Ada@Example.ORG")]
    answers = await asyncio.gather(*wanted, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyExists", "AlreadyExists", "Person"]
    assert await database.fetchval("SELECT count(*) FROM auth.organizations") == 1


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(people):
    ada = await people.sign_up()
    refusals = []
    for address in (ada.email, "nobody@example.org"):
        with pytest.raises(errors.InvalidCredentials) as refusal:
            await people.log_in(address, "not the password")
        refusals.append(refusal.value.detail())
    assert refusals[0] == refusals[1]
    await until(lambda: people.actions(ada.organization_id), holds=lambda found: "user.log_in_failed" in found)


async def test_every_refused_log_in_hashes_once_alike_and_asks_the_database_as_often(people, database, monkeypatch):
    ada, bo = await people.sign_up(), await people.sign_up()
    await database.execute("UPDATE auth.users SET disabled_at = now() WHERE user_id = $1", bo.user_id)
    hashed: list[Parameters] = []
    asked: list[str] = []
    verify = PasswordHasher.verify

    def verify_noted(self, stored, password):
        hashed.append(extract_parameters(stored))
        return verify(self, stored, password)

    def noted(name):
        method = getattr(Database, name)

        async def call(self, sql, *arguments):
            asked.append(sql)
            return await method(self, sql, *arguments)

        return call

    monkeypatch.setattr(PasswordHasher, "verify", verify_noted)
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        monkeypatch.setattr(Database, name, noted(name))
    done, counted = [], (ADMIT, SQL["read_credentials"])  # others are of what runs in the background
    for email, password in (
        (ada.email, "not the password"),
        ("nobody@example.org", "not the password"),
        ("", "not the password"),
        ("x" * 300, "not the password"),
        (bo.email, PASSWORD),
        (bo.email, "not the password"),
    ):
        hashed.clear()
        asked.clear()
        with pytest.raises(errors.InvalidCredentials):
            await people.log_in(email, password)
        done.append((list(hashed), [sql for sql in asked if sql in counted]))
    assert len(done[0][0]) == 1
    assert done[0][1] == [ADMIT, SQL["read_credentials"], ADMIT]
    assert all(each == done[0] for each in done)


async def test_a_session_ends_everywhere_within_two_seconds(start):
    async with start() as one, start() as two, connect(f"127.0.0.1:{one.port}") as channel:
        people = People(account_service_pb2_grpc.AccountServiceStub(channel), one)
        ada = await people.sign_up()
        again = await people.log_in(ada.email)
        for person in (ada, again):
            for replica in (one, two):
                assert not (await replica.authorize(person.check(is_uncounted=True)))[0].HasField("error")
        await people(pb.LogOutRequest(session_sha256=ada.digest))
        async with lived() as since:
            [verdict] = await one.authorize(ada.check())
            assert verdict.error.reason == reasons.ERROR_REASON_INVALID_SESSION
            assert not verdict.HasField("principal")
            while not (await two.authorize(ada.check(is_uncounted=True)))[0].HasField("error"):
                assert since.s < 2.0, "another replica believes what it knows of an ended session for too long"
        with pytest.raises(errors.InvalidSession):
            await people(pb.GetSessionRequest(session_sha256=ada.digest))
        assert not (await two.authorize(again.check(is_uncounted=True)))[0].HasField("error")


async def test_sessions_are_listed_and_ended_one_by_one_by_their_user_alone(people):
    ada, eve = await people.sign_up(), await people.sign_up()
    again = await people.log_in(ada.email)
    listed = (await people(pb.ListSessionsRequest(user_id=ada.user_id))).sessions
    assert [session.session_id for session in listed] == [again.session_id, ada.session_id]
    assert listed[0].client.user_agent == "test"
    with pytest.raises(errors.NotFound):
        await people(pb.RevokeSessionRequest(user_id=eve.user_id, session_id=ada.session_id))
    await people(pb.RevokeSessionRequest(user_id=ada.user_id, session_id=ada.session_id))
    assert (await people.verdict(ada.check())).error.reason == reasons.ERROR_REASON_INVALID_SESSION
    assert not (await people.verdict(again.check())).HasField("error")


async def test_use_moves_the_end_of_a_session_and_an_old_one_is_over(people, database):
    ada = await people.sign_up()
    await database.execute(
        "UPDATE auth.sessions SET last_seen_at = now() - interval '1 day', expires_at = now() + interval '1 hour'"
    )
    assert not (await people.verdict(ada.check())).HasField("error")
    await until(
        lambda: people(pb.ListSessionsRequest(user_id=ada.user_id)),
        holds=lambda found: found.sessions[0].expires_at.seconds - time.time() > 13 * 86_400,
    )
    await database.execute("UPDATE auth.sessions SET expires_at = now()")
    with pytest.raises(errors.InvalidSession):
        await people(pb.GetSessionRequest(session_sha256=ada.digest))


async def test_a_new_password_ends_the_other_sessions_and_the_old_password(people):
    ada = await people.sign_up()
    other = await people.log_in(ada.email)
    wrong = pb.ChangePasswordRequest(
        session_sha256=ada.digest, old_password="not it at all", new_password="another long one", client=fresh_client()
    )
    with pytest.raises(errors.InvalidCredentials):
        await people(wrong)
    weak = pb.ChangePasswordRequest(
        session_sha256=ada.digest, old_password=PASSWORD, new_password="qwertyuiop", client=fresh_client()
    )
    with pytest.raises(errors.InvalidParameter) as refusal:
        await people(weak)
    assert refusal.value.metadata["param"] == "new_password"
    weak.new_password = "another long one"
    await people(weak)
    assert not (await people.verdict(ada.check())).HasField("error")
    assert (await people.verdict(other.check())).error.reason == reasons.ERROR_REASON_INVALID_SESSION
    with pytest.raises(errors.InvalidCredentials):
        await people.log_in(ada.email)
    await people.log_in(ada.email, "another long one")


async def test_a_password_is_reset_by_a_mailed_link_once(start, tmp_path):
    settings = {"mail_url": tmp_path.as_uri(), "public_url": "https://images.example.org"}
    async with start(**settings) as auth, connect(f"127.0.0.1:{auth.port}") as channel:
        people = People(account_service_pb2_grpc.AccountServiceStub(channel), auth)
        ada = await people.sign_up()
        for address in ("nobody@example.org", ada.email):
            await people(pb.RequestPasswordResetRequest(email=address, client=fresh_client()))
        token = await _mailed_token(tmp_path, ada.email, "/reset-password")
        request = pb.ResetPasswordRequest(token_sha256=tokens.digest(token), new_password="weak", client=fresh_client())
        with pytest.raises(errors.InvalidParameter):
            await people(request)
        request.new_password = "a wholly new one"
        await people(request)
        assert (await people.verdict(ada.check())).error.reason == reasons.ERROR_REASON_INVALID_SESSION
        with pytest.raises(errors.NotFound):
            await people(request)
        await people.log_in(ada.email, "a wholly new one")


async def _mailed_token(folder, address: str, path: str) -> str:
    async def arrived():
        files = sorted(folder.glob("*.eml"))
        letters = [mail.message_from_bytes(file.read_bytes(), policy=default) for file in files]
        return [letter for letter in letters if path in letter.get_content()]

    letters = await until(arrived, holds=bool)
    assert {letter["To"] for letter in letters} == {address}
    [link] = {word for letter in letters for word in letter.get_content().split() if path in word}
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.path, parts.query) == ("https", "images.example.org", path, "")
    return parts.fragment


async def test_without_mail_a_reset_says_so(people):
    with pytest.raises(errors.FailedPrecondition):
        await people(pb.RequestPasswordResetRequest(email="ada@example.org", client=fresh_client()))


async def test_guesses_are_bounded_by_account_and_address_and_the_user_still_gets_in(people):
    home = fresh_client()
    ada = await people.sign_up()
    await people.log_in(ada.email, client=home)
    refusals = []
    for _ in range(24):
        with pytest.raises(errors.Refused) as refusal:
            await people.log_in(ada.email, "a guess that fails")
        refusals.append(refusal.value)
    bounded = [each for each in refusals if isinstance(each, errors.RateLimited)]
    assert len(bounded) == 5  # the first of the 20 was the user's own
    assert all(0 < each.retry_after_s <= 60 for each in bounded)
    await people.log_in(ada.email, client=home)
    attacker = fresh_client()
    outcomes = []
    for number in range(31):
        with pytest.raises(errors.Refused) as refusal:
            await people.log_in(f"{number}@example.org", "a guess that fails", client=attacker)
        outcomes.append(type(refusal.value))
    assert outcomes == [errors.InvalidCredentials] * 30 + [errors.RateLimited]


async def test_an_address_that_is_used_up_makes_no_more_rows_and_all_that_are_over_go(people, database):
    attacker = fresh_client()
    bound = throttle.of_address("log-in", attacker.address)
    counted = throttle.Throttle(Repository(database))
    for _ in range(30):
        await counted.admit(bound)
    await counted.admit(throttle.of_address("reset", attacker.address))
    before = await database.fetchval("SELECT count(*) FROM auth.windows")
    assert before == 2
    for number in range(5):
        with pytest.raises(errors.RateLimited):
            await people.log_in(f"{number}@example.org", "a guess that fails", client=attacker)
    assert await database.fetchval("SELECT count(*) FROM auth.windows") == before
    for number in range(5):
        await counted.admit(throttle.of_mail("reset", f"{number}@example.org"))
    await database.execute("UPDATE auth.windows SET moments_us = '{1}'")
    await PeopleRepository(database).forget_over(2)
    assert await database.fetchval("SELECT count(*) FROM auth.windows") == 0


async def test_a_log_in_in_flight_ends_with_the_password_that_it_was_verified_by(people, database):
    ada = await people.sign_up()
    rows = PeopleRepository(database)
    verified = await rows.credentials(ada.email, "")
    await people(
        pb.ChangePasswordRequest(
            session_sha256=ada.digest, old_password=PASSWORD, new_password="another long one", client=fresh_client()
        )
    )
    with pytest.raises(errors.InvalidCredentials):
        await rows.log_in(verified, tokens.digest(tokens.new_token()), Client())
    assert len(await rows.sessions(ada.user_id)) == 1


async def test_a_hash_of_other_parameters_is_made_anew_at_the_next_log_in(people, database):
    ada = await people.sign_up()
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await database.execute("UPDATE auth.users SET password_hash = $1", old)
    await asyncio.gather(*(people.log_in(ada.email) for _ in range(3)))
    renewed = await database.fetchval("SELECT password_hash FROM auth.users")
    assert renewed.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    await people.log_in(ada.email)
    assert await database.fetchval("SELECT password_hash FROM auth.users") == renewed
