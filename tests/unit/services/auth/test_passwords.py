from __future__ import annotations

import asyncio

import pytest
from imagineo import errors

from services.auth import passwords
from services.auth.passwords import Passwords

LONG = "the 7 grey herons of Lake Vyrnwy leave at 5:40, each with a letter for its aunt in Quito; none comes back dry!?"


@pytest.fixture
def hasher():
    made = Passwords(2, memory_kib=64)
    yield made
    made.close()


async def test_a_password_is_verified_and_nobodys_is_not(hasher):
    stored = await hasher.hash("a fine long password")
    assert stored.startswith("$argon2id$")
    assert await hasher.verify(stored, "a fine long password")
    assert not await hasher.verify(stored, "another one")
    assert not await hasher.verify(None, "a fine long password")
    assert not await hasher.verify("no hash at all", "a fine long password")


async def test_other_parameters_are_noticed(hasher):
    stored = await hasher.hash("a fine long password")
    other = Passwords(1, memory_kib=128)
    assert not hasher.is_outdated(stored)
    assert other.is_outdated(stored)
    assert await other.verify(stored, "a fine long password")
    other.close()


@pytest.mark.parametrize("password", ["correct horse battery", "\u00e9" * 4 + "zq8!" * 4, "x9$kQ2" * 21, LONG])
async def test_a_password_that_nobody_guesses_is_taken(hasher, password):
    await hasher.check_new(password, email="ada@example.org", name="Ada")


@pytest.mark.parametrize(
    "password", ["short", "x" * 129, "password123", "1234567890", "ADA@example.org", "aaaaaaaaaaaa"]
)
async def test_a_password_that_anybody_guesses_is_refused(hasher, password):
    with pytest.raises(errors.InvalidParameter) as refusal:
        await hasher.check_new(password, email="ada@example.org", name="Ada", param="new_password")
    assert refusal.value.metadata["param"] == "new_password"


async def test_a_long_password_costs_no_more_to_score_than_a_short_one(hasher, monkeypatch):
    scored = []
    real = passwords.zxcvbn
    monkeypatch.setattr(passwords, "zxcvbn", lambda text, **more: scored.append(text) or real(text, **more))
    await hasher.check_new("4@8({[6931!|7$5+2%" * 7, email="ada@example.org")
    assert [len(text) for text in scored] == [20]


async def test_too_many_at_once_are_refused_and_room_comes_back(hasher, monkeypatch):
    monkeypatch.setattr(passwords, "MAX_WAITING", 3)
    answers = await asyncio.gather(*(hasher.hash("a fine long password") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, errors.Unavailable) for answer in answers) == 2
    assert await hasher.hash("a fine long password")
