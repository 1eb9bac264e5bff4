"""Rate limits: the documented headers, and the eleventh request of a minute on the free plan."""

from __future__ import annotations

import time

import pytest

from tests.support.platform import Platform
from tests.support.rest import Account


def free_account(platform: Platform) -> Account:
    return platform.account("free", requests_per_minute=0, images_per_month=0, queued_runs=0)  # 0: the plan's own


@pytest.mark.parametrize(("plan", "limit"), [("free", 10), ("basic", 30), ("premium", 100)])
def test_every_answer_carries_the_plans_limit_and_what_is_left(platform: Platform, plan: str, limit: int) -> None:
    with platform.account(plan, requests_per_minute=0) as account:
        first, refused = account.get("/v1/models"), account.post("/v1/generate", {})

    for used, answer in ((1, first), (2, refused)):
        assert answer.headers["x-ratelimit-limit"] == str(limit)
        assert answer.headers["x-ratelimit-remaining"] == str(limit - used)
        assert -2 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 62
        assert "ratelimit" in answer.headers
        assert "ratelimit-policy" in answer.headers


def test_the_eleventh_request_of_a_minute_is_refused_and_says_when_to_come_back(platform: Platform) -> None:
    with free_account(platform) as account:
        answers = [account.get("/v1/models") for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-remaining"] == "0"


def test_the_demo_keys_are_of_the_premium_and_the_free_plan(platform: Platform) -> None:
    ready = platform.ready

    with Account(ready["url"], ready["api_key"]) as premium, Account(ready["url"], ready["free_key"]) as free:
        assert premium.get("/v1/limits").json()["plan"] == "premium"
        assert free.get("/v1/limits").json()["plan"] == "free"


def test_the_queue_holds_as_many_unfinished_runs_as_the_account_may_have(platform: Platform) -> None:
    with platform.account(queued_runs=1) as account:
        first = account.submit(steps=100, width=1024, height=1024)
        refused = account.post("/v1/generate", account.body())
        account.post(f"/v1/generations/{first}/cancel")
        account.until(first)
        accepted = account.post("/v1/generate", account.body())

    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert "retry-after" in refused.headers
    assert accepted.status_code == 200


def test_the_months_images_are_counted_once_each_and_then_refused(platform: Platform) -> None:
    with platform.account(images_per_month=1) as account:
        account.draw()
        refused = account.post("/v1/generate", account.body())

    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "quota_exceeded"
