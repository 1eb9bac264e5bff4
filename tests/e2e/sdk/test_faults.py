"""What networks and busy platforms do to a client, in each language: it goes on, and never draws twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.deadlines import NOT_NEVER_S
from tests.support.faulty_proxy import Broken, FaultyProxy
from tests.support.python_driver import REQUEST, Drive
from tests.support.rest import Account

SUBMIT = {"method": "POST", "path": "/v1/generate"}


def drawn_once(account: Account, run_id: str) -> bool:
    return [one["run_id"] for one in account.get("/v1/generations").json()["generations"]] == [run_id]


@pytest.mark.parametrize("fault", ["503", "500", "502 page", "408", "409", "reset before", "reset after"])
def test_a_submit_that_fails_on_the_way_goes_again_and_draws_once(
    drive: Drive, proxy: FaultyProxy, account: Account, fault: str
) -> None:
    {
        "503": lambda: proxy.refuses(503, "unavailable", **SUBMIT),
        "500": lambda: proxy.refuses(500, "internal_error", **SUBMIT),
        "502 page": lambda: proxy.answers(502, "<html>Bad gateway</html>", **SUBMIT),
        "408": lambda: proxy.answers(408, "", **SUBMIT),
        "409": lambda: proxy.refuses(409, "idempotency_key_in_flight", **SUBMIT),
        "reset before": lambda: proxy.breaks(Broken.BEFORE, **SUBMIT),
        "reset after": lambda: proxy.breaks(Broken.AFTER, **SUBMIT),
    }[fault]()

    told = drive("submit", proxy.url, account.key, request=REQUEST)["result"]

    first, second = proxy.requests("POST", "/v1/generate")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert 0.25 <= second.at_s - first.at_s < NOT_NEVER_S
    assert drawn_once(account, told["run_id"])


def test_retry_after_is_waited_for(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    proxy.refuses(429, "rate_limited", **SUBMIT, Retry_After="1")

    told = drive("submit", proxy.url, account.key, request=REQUEST)["result"]

    first, second = proxy.requests("POST", "/v1/generate")
    assert 1 <= second.at_s - first.at_s < NOT_NEVER_S  # a pause of its own is half a second at most
    assert drawn_once(account, told["run_id"])


def test_a_long_retry_after_is_the_callers(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    proxy.refuses(429, "quota_exceeded", **SUBMIT, Retry_After="3600")

    error = drive("submit", proxy.url, account.key, request=REQUEST)["error"]

    assert (error["class"], error["retry_after_s"]) == ("QuotaExceededError", 3600)
    assert len(proxy.requests("POST", "/v1/generate")) == 1


def test_retries_end(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    for _ in range(2):
        proxy.refuses(503, "unavailable", **SUBMIT)

    error = drive("submit", proxy.url, account.key, request=REQUEST, options={"max_retries": 1})["error"]

    assert (error["class"], error["status"]) == ("UnavailableError", 503)
    assert len(proxy.requests("POST", "/v1/generate")) == 2


def test_what_has_no_idempotency_key_is_not_sent_twice(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    proxy.breaks(Broken.AFTER, method="POST", path="/v1/keys")
    error = drive("call", proxy.url, account.key, method="keys.create", arguments={"name": "once"})["error"]
    assert error["class"] == "ConnectionFailedError"
    assert len(proxy.requests("POST", "/v1/keys")) == 1

    proxy.refuses(503, "unavailable", method="POST", path="/v1/keys")
    made = drive("call", proxy.url, account.key, method="keys.create", arguments={"name": "twice"})["result"]
    assert [key["name"] for key in account.get("/v1/keys").json()["keys"]][:2] == ["twice", "once"]
    assert made["secret"].startswith("imag_")


def test_a_delete_whose_answer_was_lost_is_done(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    run_id = account.draw()["run_id"]
    proxy.breaks(Broken.AFTER, method="DELETE")

    told = drive("call", proxy.url, account.key, method="generations.delete", arguments={"run_id": run_id})

    assert told == {"result": None}
    assert len(proxy.requests("DELETE", run_id)) == 2
    error = drive("call", proxy.url, account.key, method="generations.delete", arguments={"run_id": run_id})["error"]
    assert error["class"] == "NotFoundError"


def test_a_cut_stream_goes_on_after_the_last_event(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    proxy.cuts(2)
    proxy.breaks(Broken.BEFORE, method="GET", path="/events")

    told = drive("events", proxy.url, account.key, request={**REQUEST, "width": 256, "height": 256, "steps": 20})[
        "result"
    ]

    ids = [event["id"] for event in told["events"]]
    assert len(ids) == len(set(ids))
    assert told["events"][-1]["status"] == "completed"
    streams = proxy.requests("GET", "/events")
    assert len(streams) >= 3
    assert "last-event-id" not in streams[0].headers
    assert {one.headers["last-event-id"] for one in streams[1:3]} == {ids[1]}


def test_a_wait_outlives_a_cut_stream(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    proxy.cuts(1)

    told = drive("wait", proxy.url, account.key, request=REQUEST)["result"]

    assert told["status"] == "completed"


def test_a_wait_polls_where_no_more_streams_are_allowed(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    proxy.refuses(429, "too_many_streams", method="GET", path="/events", Retry_After="5")

    told = drive("wait", proxy.url, account.key, request=REQUEST)["result"]

    assert told["status"] == "completed"
    assert len(proxy.requests("GET", "/events")) == 1
    assert proxy.requests("GET", f"/v1/generations/{told['run_id']}$")


def test_a_stream_that_stays_cut_is_an_error(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    run_id = account.draw()["run_id"]
    for _ in range(2):
        proxy.breaks(Broken.BEFORE, method="GET", path="/events")

    error = drive("events", proxy.url, account.key, run_id=run_id, options={"max_retries": 1})["error"]

    assert error["class"] == "ConnectionFailedError"
    assert error["parents"] == ["ImagineoError"]


def test_a_batchs_results_and_archive_outlive_a_busy_platform_and_a_cut(
    drive: Drive, proxy: FaultyProxy, account: Account
) -> None:
    items = [{**REQUEST, "model_id": account.base_model(), "seed": seed} for seed in (1, 2)]
    results = r"/results(\?format=jsonl)?$"
    proxy.answers(200, '{"index": 0, "run', method="GET", path=results, Content_Length="5000")  # cut amid a line
    proxy.refuses(503, "unavailable", method="GET", path="format=zip")
    proxy.breaks(Broken.AFTER, method="GET", path="format=zip")

    told = drive("batch", proxy.url, account.key, items=items)["result"]

    assert sorted(one["index"] for one in told["results"]) == [0, 1]
    assert len(proxy.requests("GET", results)) >= 2
    assert len(proxy.requests("GET", "format=zip")) == 3
    assert told["archive_bytes"] > 1000


def test_a_wait_ends_in_time_however_long_the_platform_asks_to_stay_away(
    drive: Drive, proxy: FaultyProxy, account: Account
) -> None:
    run_id = account.submit(width=1024, height=1024, steps=100)
    proxy.refuses(503, "unavailable", method="GET", path="/events", Retry_After="55")
    began = time.monotonic()

    error = drive("wait", proxy.url, account.key, run_id=run_id, timeout_s=1)["error"]

    assert error["class"] == "WaitTimeoutError"
    assert time.monotonic() - began < 40  # it needs one second
    assert account.generation(run_id)["status"] in ("canceled", "canceling")


def test_a_key_that_may_not_ask_for_limits_is_told_of_the_cut_upload(
    drive: Drive, proxy: FaultyProxy, account: Account
) -> None:
    key = account.post("/v1/keys", {"name": "uploads", "scopes": ["models:write"]}).json()["secret"]
    proxy.breaks(Broken.BEFORE, method="POST", path="/v1/models")
    neon = Path(__file__).parents[3] / "libs" / "starter" / "weights" / "loras" / "neon.safetensors"
    given = {"path": str(neon), "name": "Cut", "base_model_id": account.base_model()}

    error = drive("upload_model", proxy.url, key, **given)["error"]

    assert error["class"] == "ConnectionFailedError"


def test_a_redirect_is_told_and_not_followed(drive: Drive, proxy: FaultyProxy, account: Account) -> None:
    proxy.answers(308, "", path="/v1/limits", Location="https://elsewhere.example/v1/limits")

    error = drive("call", proxy.url, account.key, method="limits.get")["error"]

    assert error["class"] == "UnexpectedAnswerError"
    assert "https://elsewhere.example/v1/limits" in error["message"]
    assert len(proxy.asked) == 1
