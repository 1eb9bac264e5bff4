"""A batch that was accepted is drawn whole, whatever is killed meanwhile; one that was not leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account

ITEMS = 12


def ask(account: Account, path: str) -> dict[str, Any] | None:
    """What a part that may be away answers; None while it is."""
    try:
        answer = account.get(path, timeout=SURELY_S)
    except httpx.TransportError:
        return None
    assert answer.status_code in (200, 503), answer.text
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == 200 else None


def settled(account: Account) -> int:
    """How many images are charged, once none is reserved any more."""

    def look() -> dict[str, Any] | None:
        images = (ask(account, "/v1/limits") or {}).get("images_per_month")
        return images if images and images["reserved"] == 0 else None

    return int(eventually(look, within_s=STARTED_WITHIN_S, what="no image is reserved")["used"])


@pytest.mark.parametrize("name", ["status", "worker", "nats", "postgres", "gateway"])
def test_an_accepted_batch_is_drawn_whole_though_a_process_is_killed(
    platform: Platform, account: Account, name: str
) -> None:
    body = {"items": [account.body(seed=seed) for seed in range(ITEMS)]}
    batch_id = account.post("/v1/batches", body).json()["batch_id"]
    path = f"/v1/batches/{batch_id}"
    eventually(
        lambda: (ask(account, path) or {"items": {"completed": 0}})["items"]["completed"],
        within_s=STARTED_WITHIN_S,
        what="an item is drawn",
    )

    platform.kill(name)

    def over() -> dict[str, Any] | None:
        found = ask(account, path)
        return found if found and found["status"] != "running" else None

    found = eventually(over, within_s=STARTED_WITHIN_S, what="the batch is over")
    assert (found["status"], found["items"]["completed"]) == ("completed", ITEMS)
    listed = account.get("/v1/generations", params={"batch_id": batch_id, "limit": 100}).json()["generations"]
    assert Counter(run["seed"] for run in listed) == Counter(range(ITEMS))
    assert settled(account) == ITEMS


@pytest.mark.parametrize("name", ["status", "auth", "catalog", "postgres"])
def test_a_batch_that_is_refused_while_a_process_is_dead_leaves_nothing(
    platform: Platform, account: Account, name: str
) -> None:
    body = {"items": [account.body(seed=seed) for seed in range(ITEMS)]}
    headers = {"Idempotency-Key": "once"}
    platform.kill(name)

    def submit() -> httpx.Response | None:
        answer = account.post("/v1/batches", body, headers=headers, timeout=SURELY_S)
        assert answer.status_code in (200, 503), answer.text
        return answer if answer.status_code == 200 else None

    accepted = eventually(submit, within_s=STARTED_WITHIN_S, what="the batch is accepted")

    again = account.post("/v1/batches", body, headers=headers)
    assert again.content == accepted.content
    batch_id = accepted.json()["batch_id"]
    eventually(
        lambda: (ask(account, f"/v1/batches/{batch_id}") or {"status": ""})["status"] == "completed",
        within_s=STARTED_WITHIN_S,
        what="the batch is drawn",
    )
    assert [batch["batch_id"] for batch in account.get("/v1/batches").json()["batches"]] == [batch_id]
    assert settled(account) == ITEMS
