"""Live progress over the whole platform: every change in order, resumption, the time of the first event."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.support.event_streams import taken_apart
from tests.support.platform import Platform
from tests.support.rest import Account


def followed(account: Account, run_id: str, query: str = "", **headers: str) -> Iterator[dict[str, Any]]:
    """The events of a run until the stream ends."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with account.http.stream("GET", f"/v1/generations/{run_id}/events?{query}", headers=named) as response:
        assert response.status_code == 200, response.read()
        block: list[str] = []
        for line in response.iter_lines():
            if line:
                block.append(line)
                continue
            found = taken_apart("\n".join(block))
            block.clear()
            if "event" in found:
                yield found


def test_a_run_is_followed_from_the_queue_to_its_image_and_resumed_without_repetition(account: Account) -> None:
    run_id = account.submit(steps=20, width=256, height=256)

    found = list(followed(account, run_id))

    shown = [event["data"] for event in found]
    progress = [generation["progress"] for generation in shown]
    versions = [int(event["id"].removeprefix(f"{run_id}:")) for event in found]
    assert found[0]["event"] == "snapshot"
    assert (shown[-1]["status"], progress[-1]) == ("completed", 100)
    assert progress == sorted(progress)
    assert versions == sorted(set(versions))
    assert len(account.image(shown[-1])) == shown[-1]["image"]["bytes"]

    again = list(followed(account, run_id, Last_Event_ID=found[0]["id"]))
    assert [event["id"] for event in again] == [found[-1]["id"]]
    over = account.get(f"/v1/generations/{run_id}/events", headers={"Last-Event-ID": found[-1]["id"]})
    assert (over.status_code, over.content) == (204, b"")


def test_the_first_event_comes_at_once(platform: Platform, account: Account) -> None:
    run_id = account.draw()["run_id"]
    plain_s, delays_s = [], []
    for _ in range(15):
        started_s = time.perf_counter()
        account.generation(run_id)
        asked_s = time.perf_counter()
        next(followed(account, run_id))
        plain_s.append(asked_s - started_s)
        delays_s.append(time.perf_counter() - asked_s)

    # As a plain question on this machine, whatever else it does; a look at the database comes every two seconds.
    assert min(delays_s) < 0.1 + 3 * min(plain_s), (delays_s, plain_s)


def test_a_stream_of_somebody_else_is_not_found(platform: Platform, account: Account) -> None:
    run_id = account.submit()
    with platform.account() as stranger:
        answer = stranger.get(f"/v1/generations/{run_id}/events")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
