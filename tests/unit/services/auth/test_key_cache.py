from __future__ import annotations

import dataclasses

import pytest

from services.auth.accounts import Permission, Principal
from services.auth.key_cache import MAX_AGE_S, KeyCache
from services.auth.plans import PLAN_LIMITS, Plan

WHO = Principal(
    organization_id="org_1",
    key_id="key_1",
    plan=Plan.FREE,
    limits=PLAN_LIMITS[Plan.FREE],
    permissions=frozenset(Permission),
    expires_at=None,
)


def test_an_answer_ages_from_the_moment_of_the_question():
    cache = KeyCache()
    cache.put(b"k", WHO, asked_s=10.0)
    assert cache.find(b"k", 10.0 + MAX_AGE_S - 0.001) == (True, WHO)
    assert cache.find(b"k", 10.0 + MAX_AGE_S) == (False, None)


def test_unknown_digests_are_remembered_and_age_too():
    cache = KeyCache()
    cache.put(b"k", None, asked_s=10.0)
    assert cache.find(b"k", 10.5) == (True, None)
    assert cache.find(b"k", 11.0) == (False, None)


def test_a_flood_of_unknown_digests_is_bounded_and_leaves_the_known():
    cache = KeyCache(max_known=2, max_unknown=3)
    cache.put(b"k", WHO, asked_s=10.0)
    for number in range(100):
        cache.put(b"junk%d" % number, None, asked_s=10.0)
    assert repr(cache) == "KeyCache(known=1, unknown=3)"
    assert cache.find(b"k", 10.1) == (True, WHO)
    for number in range(3):
        cache.put(b"k%d" % number, dataclasses.replace(WHO, key_id=f"key_{number}"), asked_s=10.2)
    assert cache.find(b"k", 10.3) == (False, None)


def test_an_answer_that_was_asked_for_before_a_revocation_is_not_believed():
    cache = KeyCache()
    cache.forget(b"k", now_s=10.5)
    cache.put(b"k", WHO, asked_s=10.4)
    assert cache.find(b"k", 10.6) == (False, None)


def test_it_cannot_be_made_to_keep_longer_than_revocation_allows():
    with pytest.raises(ValueError, match="max_age_s"):
        KeyCache(max_age_s=1.5)
