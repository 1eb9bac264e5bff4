"""Webhooks as a client meets them: every route through REST, and what a real receiver on this machine gets.

What it gets is verified by the reference library of Standard Webhooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.receiver import Listening, listening, says
from tests.support.rest import Account

REFUSED = [
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:169.254.169.254]/",
    "https://10.0.0.1/",
    "https://0x7f.1/",
    "https://2130706433/",
    "https://127.1/",
    "https://user@hooks.example.com/",
    "https://postgres/",
    "not a url",
    "",
    7,
    None,
]


@pytest.fixture
def receiver() -> Iterator[Listening]:
    with listening() as one:
        yield one


def registered(account: Account, url: str, **fields: Any) -> dict[str, Any]:
    answer = account.post("/v1/webhooks", {"url": url, **fields})
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def settled(account: Account, path: str, count: int = 1) -> list[dict[str, Any]]:
    """The log of so many deliveries, once none is pending."""

    def check() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = account.get(path).json()["deliveries"]
        return found if len(found) >= count and all(one["state"] != "pending" for one in found) else []

    return eventually(check, within_s=SURELY_S, what=f"{count} deliveries of {path}")


def without_link(generation: dict[str, Any]) -> dict[str, Any]:
    """An image link is signed anew each time."""
    return {name: value for name, value in generation.items() if not name.startswith("image_url")}


def test_a_registered_webhook_gets_the_object_that_rest_shows(account: Account, receiver: Listening) -> None:
    webhook = registered(account, receiver.url, events=["generation.completed"])

    drawn = account.draw(metadata={"order": "17"})
    request = receiver.next()

    content = request.verify(webhook["secret"])
    assert content["type"] == "generation.completed"
    assert without_link(content["data"]) == without_link(account.generation(drawn["run_id"]))
    assert content["data"]["metadata"] == {"order": "17"}
    assert len(account.image(content["data"])) == drawn["image"]["bytes"]
    [line] = settled(account, f"/v1/webhooks/{webhook['id']}/deliveries")
    assert (line["event_id"], line["subject_id"], line["state"]) == (request.event_id, drawn["run_id"], "delivered")
    assert (line["status_code"], line["attempts"], line["next_attempt_at"]) == (200, 1, None)


def test_a_submits_own_webhook_url_is_told(account: Account, receiver: Listening) -> None:
    run_id = account.submit(webhook_url=receiver.url)
    request = receiver.next(60)

    secret = account.get("/v1/webhooks/secret").json()
    assert secret["previous_secret_expires_at"] is None
    content = request.verify(secret["secret"])
    assert content["data"]["run_id"] == run_id
    assert receiver.url not in request.body.decode()
    [line] = settled(account, f"/v1/webhooks/deliveries?subject_id={run_id}")
    assert (line["webhook_id"], line["url"]) == (None, receiver.url)

    assert account.post(f"/v1/webhooks/deliveries/{line['id']}/redeliver").status_code == 200
    again = receiver.next()
    assert again.event_id == request.event_id
    rotated = account.post("/v1/webhooks/secret/rotate", {"overlap_s": 0}).json()
    assert account.get("/v1/webhooks/secret").json() == rotated
    with pytest.raises(WebhookVerificationError):
        again.verify(rotated["secret"])


def test_a_canceled_run_is_told_and_a_failed_attempt_is_repeated(account: Account, receiver: Listening) -> None:
    webhook = registered(account, receiver.url, events=["generation.canceled"])
    receiver.answer(says(500, b"not now"))
    run_id = account.submit(steps=100, width=1024, height=1024)
    account.post(f"/v1/generations/{run_id}/cancel")
    first = receiver.next()

    def tried() -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = account.get(f"/v1/webhooks/{webhook['id']}/deliveries?state=pending").json()[
            "deliveries"
        ]
        return [line for line in lines if line["attempts"] == 1]

    [line] = eventually(tried, within_s=SURELY_S, what="the first attempt is noted")
    assert (line["status_code"], line["last_error"], line["last_response"]) == (500, "HTTP 500", "not now")
    assert line["next_attempt_at"] > line["attempted_at"]
    assert account.get(f"/v1/webhooks/{webhook['id']}").json()["failing_since"] is not None
    second = receiver.next()
    assert first.event_id == second.event_id
    assert second.verify(webhook["secret"])["type"] == "generation.canceled"


def test_a_rotation_signs_with_both_secrets(account: Account, receiver: Listening) -> None:
    webhook = registered(account, receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"

    rotated = account.http.post(f"{path}/rotate-secret")
    assert rotated.status_code == 200, rotated.text
    assert rotated.json()["previous_secret_expires_at"] is not None
    account.draw()
    request = receiver.next()

    assert request.verify(webhook["secret"]) == request.verify(rotated.json()["secret"])
    refused = account.post(f"{path}/rotate-secret", {"overlap_s": 604_801})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "overlap_s")


def test_redelivery_posts_the_same_event_once_more(account: Account, receiver: Listening) -> None:
    webhook = registered(account, receiver.url)
    account.draw()
    first = receiver.next()
    path = f"/v1/webhooks/{webhook['id']}/deliveries"
    [line] = settled(account, path)

    again = account.post(f"{path}/{line['id']}/redeliver")

    assert (again.status_code, again.json()["id"]) == (200, line["id"])
    assert receiver.next().event_id == first.event_id
    [line] = settled(account, path)
    assert line["attempts"] == 2


def test_webhooks_are_listed_changed_and_removed(account: Account, receiver: Listening) -> None:
    made = [registered(account, receiver.url, description=f"number {number}") for number in range(3)]
    page = account.get("/v1/webhooks?limit=2").json()
    rest = account.get(f"/v1/webhooks?limit=2&cursor={page['next_cursor']}").json()
    listed = page["webhooks"] + rest["webhooks"]
    assert [one["id"] for one in listed] == [one["id"] for one in reversed(made)]
    assert rest["next_cursor"] is None
    assert all("secret" not in one for one in listed)
    path = f"/v1/webhooks/{made[0]['id']}"
    assert account.get(path).json() == listed[-1]

    changed = account.http.patch(path, json={"description": "", "events": ["generation.failed"], "active": False})

    assert changed.status_code == 200, changed.text
    assert changed.json()["description"] == ""
    assert changed.json()["events"] == ["generation.failed"]
    assert (changed.json()["active"], changed.json()["disabled_reason"]) == (False, "owner")
    assert account.http.patch(path, json={"active": True}).json()["disabled_reason"] is None
    assert account.http.delete(path).status_code == 204
    assert account.http.delete(path).status_code == 404
    assert account.get(path).status_code == 404
    assert account.get(f"{path}/deliveries").status_code == 404


@pytest.mark.parametrize("url", REFUSED)
def test_addresses_that_are_not_public_are_refused_where_they_are_named(shared_account: Account, url: object) -> None:
    """This platform opens loopback; the rest stays shut. The table of every notation is in the unit tests."""
    registering = shared_account.post("/v1/webhooks", {"url": url})
    submitting = shared_account.post("/v1/generate", shared_account.body(webhook_url=url))

    for answer, param in ((registering, "url"), (submitting, "webhook_url")):
        assert answer.status_code == 400, answer.text
        assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("invalid_parameter", param)
    assert shared_account.get("/v1/webhooks").json()["webhooks"] == []


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "invalid_parameter", "url"),
        ({"url": "https://a.example/", "events": []}, "invalid_parameter", "events"),
        ({"url": "https://a.example/", "events": ["generation.started"]}, "invalid_parameter", "events[0]"),
        ({"url": "https://a.example/", "events": "*"}, "invalid_parameter", "events"),
        ({"url": "https://a.example/", "description": "x" * 201}, "invalid_parameter", "description"),
        ({"url": "https://a.example/", "active": 1}, "invalid_parameter", "active"),
        ({"url": "https://a.example/", "secret": "whsec_x"}, "unknown_field", "secret"),
    ],
)
def test_a_bad_registration_names_the_field(
    shared_account: Account, body: dict[str, Any], code: str, param: str
) -> None:
    answer = shared_account.post("/v1/webhooks", body)

    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)


def test_somebody_elses_webhook_does_not_exist(platform: Platform, account: Account, receiver: Listening) -> None:
    webhook = registered(account, receiver.url)
    account.draw()
    receiver.next()
    path = f"/v1/webhooks/{webhook['id']}"
    [line] = settled(account, f"{path}/deliveries")
    with platform.account() as stranger:
        answers = [
            stranger.get(path),
            stranger.http.patch(path, json={"active": False}),
            stranger.http.delete(path),
            stranger.post(f"{path}/rotate-secret", {}),
            stranger.get(f"{path}/deliveries"),
            stranger.post(f"{path}/deliveries/{line['id']}/redeliver"),
            stranger.post(f"/v1/webhooks/deliveries/{line['id']}/redeliver"),
        ]
        assert [answer.status_code for answer in answers] == [404] * len(answers)
        assert stranger.get("/v1/webhooks/deliveries").json()["deliveries"] == []


def test_the_gateway_serves_everything_else_without_webhooks(platform: Platform, account: Account) -> None:
    with platform.frozen("webhooks"):
        assert account.post("/v1/generate", account.body(webhook_url="https://hooks.example.com/")).status_code == 200
        away = account.get("/v1/webhooks")
        assert (away.status_code, away.json()["error"]["code"]) == (503, "unavailable")
        ready = account.get("/readyz")
        assert (ready.status_code, ready.json()["dependencies"]["webhooks"]["ok"]) == (200, False)
        account.draw()


def test_what_ended_while_webhooks_was_away_is_told_when_it_is_back(
    platform: Platform, account: Account, receiver: Listening
) -> None:
    webhook = registered(account, receiver.url)
    with platform.kept_down("webhooks"):
        drawn = account.draw()
    assert receiver.next(40).verify(webhook["secret"])["data"]["run_id"] == drawn["run_id"]
