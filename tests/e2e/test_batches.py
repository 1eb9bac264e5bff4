"""Bulk over REST: a list, JSON lines or a sweep becomes runs that are drawn in turn, followed and fetched."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S
from tests.support.pictures import farthest
from tests.support.platform import Platform, eventually, sha256
from tests.support.rest import SMALL, Account

TERMINAL = ("completed", "failed", "canceled")
LINES = {"Content-Type": "application/x-ndjson"}


def items(account: Account, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [account.body(seed=seed, **fields) for seed in range(count)]


def submit(account: Account, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = account.post("/v1/batches", body, headers=headers)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def batch(account: Account, batch_id: str) -> dict[str, Any]:
    answer = account.get(f"/v1/batches/{batch_id}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def until_over(account: Account, batch_id: str, within_s: float = 90) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = batch(account, batch_id)
        return found if found["status"] in TERMINAL else None

    return eventually(look, within_s=within_s, what="the batch is over")


def results(account: Account, batch_id: str) -> list[dict[str, Any]]:
    answer = account.get(f"/v1/batches/{batch_id}/results")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def reserved(account: Account) -> int:
    return int(account.get("/v1/limits").json()["images_per_month"]["reserved"])


def refusal(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_a_list_is_drawn_followed_and_fetched_in_its_order(account: Account) -> None:
    body = {"name": "mugs", "metadata": {"order": "7"}, "items": items(account, 6)}
    accepted = submit(account, body)

    assert accepted["batch_id"].startswith("batch_")
    assert (accepted["status"], accepted["total"]) == ("running", 6)
    assert accepted["estimated_time"] >= 1
    seen: list[int] = []

    def look() -> bool:
        found = batch(account, accepted["batch_id"])
        assert sum(found["items"].values()) == 2 * found["items"]["total"] == 12
        seen.append(found["progress"])
        return bool(found["status"] == "completed")

    eventually(look, within_s=STARTED_WITHIN_S, what="the batch is completed")
    assert seen == sorted(seen)
    over = batch(account, accepted["batch_id"])
    assert (over["progress"], over["items"]["completed"], over["estimated_time"], over["errors"]) == (100, 6, 0, [])
    assert (over["name"], over["metadata"]) == ("mugs", {"order": "7"})
    assert over["created_at"] <= over["started_at"] <= over["finished_at"]
    lines = results(account, accepted["batch_id"])
    assert [line["index"] for line in lines] == list(range(6))
    assert [line["seed"] for line in lines] == list(range(6))
    assert {line["status"] for line in lines} == {"completed"}
    picture = httpx.get(lines[3]["image_url"], trust_env=False).content
    assert sha256(picture) == lines[3]["image"]["sha256"]
    assert farthest(picture, account.image(account.draw(seed=3))) <= 1  # drawn in a batch or alone


def test_its_items_are_runs_like_any_other(account: Account) -> None:
    accepted = submit(account, {"items": items(account, 3), "defaults": {"metadata": {"a": "b"}}})
    batch_id = accepted["batch_id"]
    account.until(account.submit(seed=99))

    page = account.get("/v1/generations", params={"batch_id": batch_id, "limit": 2}).json()
    rest = account.get("/v1/generations", params={"batch_id": batch_id, "cursor": page["next_cursor"]}).json()
    runs = [*page["generations"], *rest["generations"]]
    assert [run["seed"] for run in runs] == [2, 1, 0]
    assert {run["batch_id"] for run in runs} == {batch_id}
    assert {run["metadata"]["a"] for run in runs} == {"b"}
    listed = account.get("/v1/batches").json()
    assert [one["batch_id"] for one in listed["batches"]] == [batch_id]
    assert listed["next_cursor"] is None
    with account.http.stream("GET", f"/v1/generations/{runs[0]['run_id']}/events") as events:
        names = [line.removeprefix("event: ") for line in events.iter_lines() if line.startswith("event: ")]
    assert names[0] == "snapshot"
    until_over(account, batch_id)
    assert account.get("/v1/generations", params={"batch_id": "none"}).json()["generations"] == []


def test_json_lines_are_taken_and_a_bad_line_is_named(account: Account) -> None:
    lines = [json.dumps(body) for body in items(account, 3)]
    answer = account.http.post("/v1/batches", content="\n".join(lines) + "\n", headers=LINES)
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == 3
    until_over(account, answer.json()["batch_id"])

    bad = [*lines, json.dumps(account.body(guidance=99))]
    error = refusal(account.http.post("/v1/batches", content="\n".join(bad), headers=LINES), 400)
    assert (error["code"], error["param"]) == ("invalid_parameter", "line 4: guidance")
    broken = [*lines[:2], "", '{"positive_prompt": ']
    error = refusal(account.http.post("/v1/batches", content="\n".join(broken), headers=LINES), 400)
    assert (error["code"], error["details"]["line"]) == ("invalid_json", "4")
    assert error["message"].startswith("Line 4: ")
    assert len(account.get("/v1/batches").json()["batches"]) == 1
    assert reserved(account) == 0


def test_a_sweep_is_every_combination_of_its_lists(account: Account) -> None:
    lora = account.lora()
    sweep = {"positive_prompts": ["a red mug", "a blue mug"], "lora_weights": [0, 1], "seeds": [5, 6]}
    accepted = submit(account, {"sweep": sweep, "defaults": {"model_id": lora, **SMALL}})
    assert accepted["total"] == 8
    over = until_over(account, accepted["batch_id"])
    assert over["status"] == "completed"

    asked = [
        (line["parameters"]["positive_prompt"], line["parameters"]["lora_weight"], line["seed"])
        for line in results(account, accepted["batch_id"])
    ]
    assert asked == [
        (prompt, weight, seed)
        for prompt in sweep["positive_prompts"]
        for weight in sweep["lora_weights"]
        for seed in sweep["seeds"]
    ]


def test_the_archive_holds_every_picture_as_it_is_and_the_results(account: Account) -> None:
    accepted = submit(account, {"items": [*items(account, 3), account.body(output_format="jpeg", seed=3)]})
    until_over(account, accepted["batch_id"])

    answer = account.get(f"/v1/batches/{accepted['batch_id']}/results", params={"format": "zip"})
    by_header = account.get(f"/v1/batches/{accepted['batch_id']}/results", headers={"Accept": "application/zip"})

    assert answer.headers["content-type"] == by_header.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        lines = [json.loads(line) for line in archive.read("results.jsonl").splitlines()]
        assert [line["index"] for line in lines] == [0, 1, 2, 3]
        assert sorted(archive.namelist()) == sorted([*(line["file"] for line in lines), "results.jsonl"])
        for line in lines:
            assert sha256(archive.read(line["file"])) == line["image"]["sha256"]
            assert line["missing"] is False
        with Image.open(io.BytesIO(archive.read(lines[3]["file"]))) as picture:
            assert picture.format == "JPEG"


def test_the_contact_sheet_shows_every_picture(account: Account) -> None:
    accepted = submit(account, {"items": items(account, 5)})
    until_over(account, accepted["batch_id"])

    answer = account.get(f"/v1/batches/{accepted['batch_id']}/contact-sheet.png")
    again = account.get(
        f"/v1/batches/{accepted['batch_id']}/contact-sheet.png", headers={"If-None-Match": answer.headers["etag"]}
    )

    assert (answer.status_code, answer.headers["content-type"], again.status_code) == (200, "image/png", 304)
    with Image.open(io.BytesIO(answer.content)) as sheet:
        assert sheet.size == (3 * 264 + 8, 2 * 282 + 8)
        for place in range(5):
            left, top = 8 + place % 3 * 264, 8 + place // 3 * 282
            cell = sheet.crop((left, top, left + 256, top + 256))
            assert len(cell.getcolors(65_536) or range(65_537)) > 50  # a picture, not paper


def test_a_cancel_stops_what_waits_at_once_and_what_runs_at_its_next_step(account: Account) -> None:
    accepted = submit(account, {"items": items(account, 60, steps=40, width=128, height=128)})
    batch_id = accepted["batch_id"]
    eventually(lambda: batch(account, batch_id)["items"]["running"], within_s=STARTED_WITHIN_S, what="an item runs")

    answer = account.post(f"/v1/batches/{batch_id}/cancel")

    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] in ("canceling", "canceled")
    over = until_over(account, batch_id, within_s=SURELY_S)
    assert over["status"] == account.post(f"/v1/batches/{batch_id}/cancel").json()["status"] == "canceled"
    assert over["items"]["canceled"] >= 50
    assert over["items"]["canceled"] + over["items"]["completed"] == 60
    eventually(lambda: reserved(account) == 0, within_s=SURELY_S, what="the reservations are released")
    used = account.get("/v1/limits").json()["images_per_month"]["used"]
    assert used == over["items"]["completed"]
    lines = results(account, batch_id)
    assert len(lines) == 60
    assert lines[59]["status"] == "canceled"
    assert lines[59]["image_url"] is None


def test_a_partial_failure_is_shown_and_takes_nothing_from_the_others(platform: Platform, account: Account) -> None:
    """An item expires, another is deleted; the others are drawn."""
    accepted = submit(account, {"items": items(account, 4)})
    batch_id = accepted["batch_id"]
    last = results(account, batch_id)[3]
    assert account.http.delete(f"/v1/generations/{last['run_id']}").status_code == 204
    over = until_over(account, batch_id)

    assert over["status"] == "completed"
    assert (over["items"]["completed"], over["items"]["deleted"]) == (3, 1)
    assert results(account, batch_id)[3]["status"] == "deleted"
    answer = account.get(f"/v1/batches/{batch_id}/results", params={"format": "zip"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(archive.namelist()) == 4
    assert account.get(f"/v1/batches/{batch_id}/contact-sheet.png").status_code == 200


def test_items_that_did_not_start_by_their_deadline_expire(account: Account) -> None:
    body = {"items": items(account, 300)}
    accepted = submit(account, body, headers={"Cancel-After": "1"})

    over = until_over(account, accepted["batch_id"])

    assert over["items"]["expired"] >= 10
    assert over["items"]["expired"] + over["items"]["completed"] == 300


def test_a_single_run_of_another_account_starts_before_a_great_batch_is_done(
    platform: Platform, account: Account
) -> None:
    accepted = submit(account, {"items": items(account, 1_000)})
    eventually(
        lambda: batch(account, accepted["batch_id"])["items"]["completed"] >= 4,
        within_s=STARTED_WITHIN_S,
        what="the batch runs",
    )
    with platform.account() as other:
        before = batch(account, accepted["batch_id"])["items"]["completed"]
        run = other.until(other.submit(), within_s=120)
        after = batch(account, accepted["batch_id"])["items"]["completed"]

    assert run["status"] == "completed"
    assert after - before <= 40
    assert account.post(f"/v1/batches/{accepted['batch_id']}/cancel").status_code == 200
    over = until_over(account, accepted["batch_id"], within_s=STARTED_WITHIN_S)
    assert sum(over["items"].values()) == 2_000


def test_a_key_makes_one_batch_however_often_it_is_sent(account: Account) -> None:
    headers, body = {"Idempotency-Key": "order-7"}, {"items": items(account, 2)}

    first, again = (account.post("/v1/batches", body, headers=headers) for _ in range(2))
    other = account.post("/v1/batches", {"items": items(account, 3)}, headers=headers)
    single = account.post("/v1/generate", account.body(), headers=headers)

    assert first.status_code == 200
    assert first.content == again.content
    assert refusal(other, 422)["code"] == refusal(single, 422)["code"] == "idempotency_key_reused"
    until_over(account, first.json()["batch_id"])
    assert len(account.get("/v1/generations").json()["generations"]) == 2
    eventually(lambda: reserved(account) == 0, within_s=SURELY_S, what="the reservations are settled")


def test_a_quota_that_is_too_small_refuses_the_whole_and_keeps_nothing(platform: Platform) -> None:
    with platform.account(images_per_month=3) as small:
        error = refusal(small.post("/v1/batches", {"items": items(small, 4)}), 429)
        assert error["code"] == "quota_exceeded"
        assert small.get("/v1/generations").json()["generations"] == []
        assert small.get("/v1/batches").json()["batches"] == []
        eventually(lambda: reserved(small) == 0, within_s=SURELY_S, what="the reservations are released")
        headers, body = {"Idempotency-Key": "last"}, {"items": items(small, 3)}
        first = small.post("/v1/batches", body, headers=headers)
        assert first.status_code == 200, first.text
        assert small.post("/v1/batches", body, headers=headers).content == first.content  # though no image is left
        until_over(small, first.json()["batch_id"])


def test_another_organizations_batch_is_not_there(platform: Platform, account: Account) -> None:
    batch_id = submit(account, {"items": items(account, 1)})["batch_id"]
    with platform.account() as stranger:
        for path in ("", "/results", "/results?format=zip", "/contact-sheet.png"):
            assert refusal(stranger.get(f"/v1/batches/{batch_id}{path}"), 404)["code"] == "not_found"
        assert refusal(stranger.post(f"/v1/batches/{batch_id}/cancel"), 404)["code"] == "not_found"
        assert stranger.get("/v1/generations", params={"batch_id": batch_id}).json()["generations"] == []
    assert account.get("/v1/batches/batch_none").status_code == 404
    until_over(account, batch_id)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": [{}] * 1_001}, "items"),
        ({"items": {}}, "items"),
        ({"items": ["x"]}, "items[0]"),
        ({"items": [{"positive_prompt": "x"}]}, "items[0].model_id"),
        ({"items": [{"positive_prompt": "x", "model_id": "$M", "guidance": 0}]}, "items[0].guidance"),
        ({"items": [{"positive_prompt": "x", "model_id": "$M", "dry_run": True}]}, "items[0].dry_run"),
        ({"items": [{"positive_prompt": "x", "model_id": "$M", "width": 8192}]}, "items[0].width"),
        ({"items": [{"positive_prompt": "x", "model_id": "$M"}, {"positive_prompt": "x", "model_id": "model_no"}]},
         "items[1].model_id"),
        ({"items": [{"positive_prompt": "x"}], "defaults": {"model_id": "$M", "seed": -1}}, "defaults.seed"),
        ({"items": [{"positive_prompt": "x"}], "defaults": {"wdth": 64}}, "defaults.wdth"),
        ({"items": [], "sweep": {}}, "sweep"),
        ({"itmes": []}, "itmes"),
        ({"sweep": {}}, "sweep.positive_prompts"),
        ({"sweep": {"positive_prompts": ["x"]}}, "sweep.model_ids"),
        ({"sweep": {"positive_prompts": ["x"], "model_ids": ["$M"], "seeds": [1, 2, -3]}}, "sweep.seeds[2]"),
        ({"sweep": {"positive_prompts": ["x"], "model_ids": ["$M"], "seeds": []}}, "sweep.seeds"),
        ({"sweep": {"positive_prompts": ["x"], "model_ids": ["$M"], "cfg": [1]}}, "sweep.cfg"),
        ({"sweep": {"positive_prompts": ["x"] * 40, "model_ids": ["$M"], "seeds": list(range(26))}}, "sweep"),
        ({"sweep": {"positive_prompts": ["x"], "model_ids": ["model_no"]}}, "sweep item 0: model_id"),
        ({"items": [{"positive_prompt": "x", "model_id": "$M"}], "name": 7}, "name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_made(shared_account: Account, body: Any, param: str) -> None:
    text = json.dumps(body).replace("$M", shared_account.base_model())
    answer = shared_account.http.post("/v1/batches", content=text, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["param"] == param
    assert shared_account.get("/v1/batches").json()["batches"] == []


def test_a_body_has_its_own_limit_and_its_content_types(shared_account: Account) -> None:
    large = {"items": [shared_account.body(positive_prompt="x" * 2_000) for _ in range(40)]}
    assert len(json.dumps(large)) > 65_536
    assert submit(shared_account, large)["total"] == 40
    assert refusal(shared_account.http.post("/v1/batches", content=b" " * (4 * 2**20 + 1)), 413)["code"] == (
        "body_too_large"
    )
    plain = shared_account.http.post("/v1/batches", content=b"{}", headers={"Content-Type": "text/plain"})
    assert refusal(plain, 415)["code"] == "unsupported_media_type"
    stranger = httpx.post(f"{shared_account.url}/v1/batches", content=b"{", trust_env=False)
    assert refusal(stranger, 401)["code"] == "missing_api_key"
    [made] = shared_account.get("/v1/batches").json()["batches"]
    shared_account.post(f"/v1/batches/{made['batch_id']}/cancel")
    until_over(shared_account, made["batch_id"])
