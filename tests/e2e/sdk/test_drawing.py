"""What people do with a client, in each language: draw, follow, stop, list, upload, batch."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from imagineo.permissions import ROLES
from standardwebhooks import Webhook

from tests.support.platform import Platform, sha256
from tests.support.python_driver import REQUEST, Drive
from tests.support.rest import Account
from tests.support.tenants import new_user

LORAS = Path(__file__).parents[3] / "libs" / "starter" / "weights" / "loras"


def test_it_draws_and_hands_over_the_pictures_bytes(drive: Drive, account: Account) -> None:
    told = drive("draw", account.url, account.key, request=REQUEST)["result"]

    drawn = account.generation(told["run_id"])
    assert (told["status"], told["seed"]) == ("completed", 7)
    assert told["sha256"] == drawn["image"]["sha256"] == sha256(account.image(drawn))
    assert told["bytes"] == drawn["image"]["bytes"]
    assert drawn["model_id"] == account.base_model()


def test_it_saves_the_picture(drive: Drive, account: Account, tmp_path: Path) -> None:
    path = tmp_path / "mug.png"
    told = drive("save", account.url, account.key, request=REQUEST, path=str(path))["result"]

    assert told["path"] == str(path)
    assert sha256(path.read_bytes()) == account.generation(told["run_id"])["image"]["sha256"]
    assert [one.name for one in tmp_path.iterdir()] == ["mug.png"]


def test_it_follows_a_run_to_its_end(drive: Drive, account: Account) -> None:
    told = drive("events", account.url, account.key, request=REQUEST, previews=True)["result"]

    events = [event for event in told["events"] if event["type"] != "preview"]
    assert events[0]["type"] == "snapshot"
    assert events[-1]["status"] == "completed"
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    assert len({event["id"] for event in events}) == len(events)
    assert all(event["has_preview"] == (event["type"] == "preview") for event in told["events"])

    again = drive("events", account.url, account.key, run_id=told["run_id"])["result"]["events"]
    assert [event["type"] for event in again] == ["snapshot"]
    last = again[-1]["id"]
    assert (
        drive("events", account.url, account.key, run_id=told["run_id"], last_event_id=last)["result"]["events"] == []
    )


def test_it_stops_a_run(drive: Drive, account: Account) -> None:
    told = drive("cancel", account.url, account.key, request={**REQUEST, "width": 1024, "height": 1024, "steps": 50})[
        "result"
    ]

    assert told["status"] == "canceled"
    assert account.generation(told["run_id"])["status"] == "canceled"


def test_who_waits_for_a_canceled_run_is_told_so(drive: Drive, account: Account) -> None:
    run_id = account.submit(width=1024, height=1024, steps=50)
    account.post(f"/v1/generations/{run_id}/cancel")

    error = drive("wait", account.url, account.key, run_id=run_id)["error"]

    assert error["class"] == "RunCanceledError"
    assert error["parents"] == ["RunEndedError", "ImagineoError"]
    assert run_id in error["message"]


@pytest.mark.parametrize("cancels", [True, False])
def test_a_wait_that_takes_too_long_cancels_the_run_unless_told_otherwise(
    drive: Drive, account: Account, cancels: bool
) -> None:
    run_id = account.submit(width=1024, height=1024, steps=50)

    error = drive("wait", account.url, account.key, run_id=run_id, timeout_s=0.2, cancel_on_timeout=cancels)["error"]

    assert error["class"] == "WaitTimeoutError"
    if cancels:
        assert account.until(run_id)["status"] == "canceled"
    else:
        assert account.generation(run_id)["status"] in ("queued", "running")
        account.post(f"/v1/generations/{run_id}/cancel")


def test_it_goes_through_all_pages_or_takes_one(drive: Drive, account: Account) -> None:
    ids = [account.submit(seed=seed) for seed in range(5)]

    told = drive("pages", account.url, account.key, limit=2, filters={})["result"]

    assert told["ids"] == ids[::-1]
    assert told["first_page"] == {"ids": ids[:2:-1], "has_next": True}
    assert drive("pages", account.url, account.key, limit=2, filters={"status": "expired"})["result"] == {
        "ids": [],
        "first_page": {"ids": [], "has_next": False},
    }


def test_it_uploads_a_lora_and_tells_its_progress(drive: Drive, account: Account, tmp_path: Path) -> None:
    path = LORAS / "neon.safetensors"
    told = drive(
        "upload_model", account.url, account.key, path=str(path), name="Mine", base_model_id=account.base_model()
    )["result"]

    size = path.stat().st_size
    assert "Mine" in told["names"]
    assert [total for _, total in told["progress"]] == [size] * len(told["progress"])
    sent = [sent for sent, _ in told["progress"]]
    assert sent == sorted(set(sent))
    assert sent[-1] == size
    assert account.get(f"/v1/models/{told['id']}").status_code == 404


def test_a_file_that_is_no_lora_is_refused_with_the_reason(drive: Drive, account: Account, tmp_path: Path) -> None:
    path = tmp_path / "cat.safetensors"
    path.write_bytes(b"\x89PNG" * 1000)

    error = drive(
        "upload_model", account.url, account.key, path=str(path), name="Cat", base_model_id=account.base_model()
    )["error"]

    assert error["class"] == "InvalidFileError"
    assert error["parents"] == ["BadRequestError", "ApiError", "ImagineoError"]
    assert "safetensors" in error["message"]


def test_it_enlarges_and_varies(drive: Drive, account: Account, tmp_path: Path) -> None:
    drawn = account.draw()
    path = tmp_path / "mug.png"
    path.write_bytes(account.image(drawn))

    told = drive("sourced", account.url, account.key, run_id=drawn["run_id"], path=str(path))["result"]

    assert told == {
        "upscaled": {"status": "completed", "width": 128, "height": 128},
        "varied": ["completed"] * 2,
        "from_file": "completed",
        "like_file": "completed",
    }


@pytest.mark.parametrize("form", ["items", "file", "sweep"])
def test_a_batchs_results_come_from_each_of_its_forms(
    drive: Drive, account: Account, tmp_path: Path, form: str
) -> None:
    items = [{**REQUEST, "seed": seed} for seed in (1, 2)]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps({**item, "model_id": account.base_model()}) + "\n" for item in items))
    shared = {name: value for name, value in REQUEST.items() if name not in ("positive_prompt", "seed")}
    given = {
        "items": {"items": items},
        "file": {"file": str(path)},
        "sweep": {"sweep": {"positive_prompts": ["a red mug"], "seeds": [1, 2]}, "defaults": shared},
    }[form]

    told = drive("batch", account.url, account.key, **given)["result"]

    assert sorted(one["index"] for one in told["results"]) == [0, 1]
    assert {one["status"] for one in told["results"]} == {"completed"}
    assert told["status"] == "completed"
    assert told["archive_bytes"] > 1000
    assert told["sheet_bytes"] > 1000
    assert {account.generation(one["run_id"])["batch_id"] for one in told["results"]} == {told["batch_id"]}


def test_it_manages_the_account(drive: Drive, account: Account) -> None:
    told = drive("account", account.url, account.key)["result"]

    assert told["limits"] is True
    assert told["usage"] is True
    assert (told["keys"]["listed"], told["keys"]["revoked"]) == (True, True)
    assert [told["webhooks"][name] for name in ("updated", "rotated", "deleted")] == [True] * 3
    assert told["organization"] == account.organization_id
    assert account.get(f"/v1/webhooks/{told['webhooks']['made']}").status_code == 404


def test_it_manages_the_organization(drive: Drive, account: Account, platform: Platform) -> None:
    user_id = new_user(platform.ready, account.organization_id, f"{uuid.uuid4().hex}@example.org", ROLES["viewer"])

    told = drive("organization", account.url, account.key, email="bo@example.org", user_id=user_id)["result"]

    assert told["renamed"] == account.get("/v1/organization").json()["name"] == "Renamed"
    assert "/invitation#" in told["link"]
    assert (told["invitation"], told["role"]) == ("revoked", "admin")
    assert told["members"] == {"before": [user_id], "after": []}
    assert {"invitation.revoked", "invitation.created"} <= set(told["newest"])
    assert told["only"] == ["invitation.created"]


def test_it_verifies_what_the_platform_signs(drive: Drive, account: Account) -> None:
    secret = account.get("/v1/webhooks/secret").json()["secret"]
    generation, now = account.draw(), datetime.now(tz=UTC)
    body = json.dumps({"type": "generation.completed", "timestamp": now.isoformat(), "data": generation})
    signed = {"webhook-id": "evt_1", "webhook-timestamp": str(int(now.timestamp()))}
    headers = {**signed, "webhook-signature": Webhook(secret).sign("evt_1", now, body)}

    told = drive("verify", account.url, account.key, body=body, headers=headers, secret=secret)
    assert told["result"] == {"type": "generation.completed", "run_id": generation["run_id"]}

    forged = drive("verify", account.url, account.key, body=body + " ", headers=headers, secret=secret)
    assert forged["error"]["class"] == "WebhookVerificationError"
