"""A dry run over the whole platform: what it says comes true, and it leaves nothing behind."""

from __future__ import annotations

from tests.support.pictures import farthest
from tests.support.platform import Platform
from tests.support.rest import Account


def test_a_dry_run_takes_nothing_and_its_parameters_draw_the_picture(account: Account) -> None:
    body = account.body(lora_weight=0.7)
    before = account.get("/v1/limits").json()

    tried = account.post("/v1/generate", {**body, "dry_run": True}).json()

    after = account.get("/v1/limits").json()
    assert (tried["would_be_accepted"], tried["images"], tried["megapixel_steps"]) == (True, 1, 0.016384)
    assert tried["estimated_time"] >= 1
    assert (after["images_per_month"], after["queued_runs"]) == (before["images_per_month"], before["queued_runs"])
    assert account.get("/v1/generations").json()["generations"] == []
    first = account.until(account.post("/v1/generate", tried["parameters"]).json()["run_id"])
    assert farthest(account.image(first), account.image(account.draw(**body))) <= 1


def test_a_dry_run_says_which_limit_would_refuse(platform: Platform) -> None:
    with platform.account(images_per_month=1) as account:
        account.draw()
        tried = account.post("/v1/generate", account.body(dry_run=True))
        refused = account.post("/v1/generate", account.body())

    assert tried.status_code == 200
    assert [block["code"] for block in tried.json()["blocked_by"]] == [refused.json()["error"]["code"]]
