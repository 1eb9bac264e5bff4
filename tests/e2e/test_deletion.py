"""A deleted generation is gone for everybody, at once and for good."""

from __future__ import annotations

import httpx

from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account


def test_a_deleted_generation_is_gone_with_its_image(platform: Platform, account: Account) -> None:
    done = account.draw(seed=5)
    run_id, path = done["run_id"], f"/v1/generations/{done['run_id']}"
    assert httpx.get(done["image_url"], trust_env=False).status_code == 200
    with platform.account() as stranger:
        assert stranger.delete(path).status_code == 404
    assert account.get(path).status_code == 200

    answer = account.delete(path)

    assert (answer.status_code, answer.content) == (204, b"")
    assert httpx.get(done["image_url"], trust_env=False).status_code == 404
    for refused in (
        account.get(path),
        account.delete(path),
        account.get(f"{path}/events"),
        account.get(f"{path}/manifest"),
        account.post(f"{path}/cancel", None),
    ):
        assert refused.status_code == 404, refused.text
        assert refused.json()["error"]["code"] == "not_found"
    assert run_id not in [run["run_id"] for run in account.get("/v1/generations").json()["generations"]]


def test_a_generation_that_was_not_over_is_stopped_and_gives_its_place_and_its_image_back(account: Account) -> None:
    before = _left(account)
    answer = account.post("/v1/generate", account.body(steps=100, width=1024, height=1024)).json()
    path = f"/v1/generations/{answer['run_id']}"

    assert account.delete(path).status_code == 204

    assert account.get(path).status_code == 404
    eventually(lambda: _left(account) == before, within_s=SURELY_S, what="the account has all its limits back")


def _left(account: Account) -> tuple[int, int]:
    now = account.get("/v1/limits").json()
    return now["queued_runs"]["remaining"], now["images_per_month"]["remaining"]
