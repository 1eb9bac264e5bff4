"""Accepted means kept: any one process is killed under load, and every accepted run still ends once, with its image."""

from __future__ import annotations

import time
from collections import Counter

import httpx
import nats
import pytest

from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S
from tests.support.platform import Platform, eventually, sha256
from tests.support.rest import TERMINAL, Account

BEFORE, IN_ALL = 4, 12


def submit_until(account: Account, body: dict[str, object], accepted: list[str], count: int) -> None:
    """Submit one by one until `count` are accepted; in between only 503 and a broken connection may be seen."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while len(accepted) < count:
        assert time.monotonic() < deadline, f"accepts no more: {len(accepted)} of {count}"
        try:
            answer = account.post("/v1/generate", body | {"seed": len(accepted)}, timeout=SURELY_S)
        except httpx.TransportError:
            continue
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            accepted.append(answer.json()["run_id"])
        else:
            assert "retry-after" in answer.headers


async def terminal_events(platform: Platform) -> Counter[str]:
    """How many different ends were announced of each run."""
    client = await nats.connect(platform.ready["nats_url"])
    try:
        info = await client.jetstream().stream_info("EVENTS", subjects_filter="imagineo.v1.events.>")
        return Counter(subject.rsplit(".", 1)[1] for subject in info.state.subjects or {})
    finally:
        await client.close()


@pytest.mark.parametrize("name", ["gateway", "auth", "catalog", "status", "worker", "nats", "postgres"])
async def test_every_accepted_run_is_completed_once_though_a_process_is_killed_under_load(
    platform: Platform, account: Account, name: str
) -> None:
    body, accepted = account.body(), []

    submit_until(account, body, accepted, BEFORE)
    platform.kill(name)
    submit_until(account, body, accepted, IN_ALL)

    ended = [account.until(run_id, within_s=STARTED_WITHIN_S) for run_id in accepted]
    assert Counter(generation["status"] for generation in ended) == {"completed": IN_ALL}
    for generation in ended:
        assert sha256(account.image(generation)) == generation["image"]["sha256"]
    events = await terminal_events(platform)
    assert {run_id: events[run_id] for run_id in accepted} == dict.fromkeys(accepted, 1)
    settled = eventually(
        lambda: found if (found := account.get("/v1/limits").json()["images_per_month"])["reserved"] == 0 else None,
        within_s=SURELY_S,
        what="the reservations are settled",
    )
    listed = account.get("/v1/generations", params={"limit": 100}).json()["generations"]
    # A submit whose answer was lost may have been accepted too: it is listed, it ends, and it is charged like the rest.
    assert {*accepted} <= {generation["run_id"] for generation in listed}
    assert all(account.until(generation["run_id"])["status"] in TERMINAL for generation in listed)
    assert settled["used"] >= IN_ALL
