"""The worker dies mid-run: the run is taken up again, and given up after three attempts."""

from __future__ import annotations

import time
from typing import Any

from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S
from tests.support.platform import Platform, eventually, sha256
from tests.support.rest import Account

#: Some seconds of drawing: long enough to be seen running, and killed.
LONG = {"steps": 100, "width": 256, "height": 256}


def until_attempt(account: Account, run_id: str, attempt: int, within_s: float) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        generation = account.generation(run_id)
        return generation if generation["status"] == "running" and generation["attempts"] == attempt else None

    return eventually(look, within_s=within_s, what=f"{run_id} runs under attempt {attempt}")


def kill_worker_until_it_serves_again(platform: Platform) -> None:
    """It writes its ports file anew once it is up."""
    ports_file = platform.data / "run" / "worker.json"
    platform.kill("worker")
    eventually(ports_file.exists, within_s=STARTED_WITHIN_S, what="the worker is up again")


def test_a_run_whose_worker_died_is_drawn_after_the_restart(platform: Platform, account: Account) -> None:
    run_id = account.submit(**LONG)
    until_attempt(account, run_id, 1, STARTED_WITHIN_S)

    kill_worker_until_it_serves_again(platform)
    back = time.monotonic()
    eventually(lambda: account.generation(run_id)["attempts"] == 2, within_s=SURELY_S, what="the run is taken up")
    print(f"taken up again {time.monotonic() - back:.1f} s after the restart")

    ended = account.until(run_id)
    assert (ended["status"], ended["attempts"]) == ("completed", 2)
    assert sha256(account.image(ended)) == ended["image"]["sha256"]
    undisturbed = account.draw(**LONG)
    assert account.image(undisturbed) == account.image(ended)


def test_a_run_that_costs_three_workers_their_lives_is_failed_with_a_reason(
    platform: Platform, account: Account
) -> None:
    run_id = account.submit(**LONG)
    for attempt in (1, 2, 3):
        until_attempt(account, run_id, attempt, STARTED_WITHIN_S)
        kill_worker_until_it_serves_again(platform)

    ended = account.until(run_id, within_s=STARTED_WITHIN_S)

    assert (ended["status"], ended["attempts"]) == ("failed", 3)
    assert ended["error"]["code"] == "worker_lost"
    assert ended["error"]["message"]
    assert ended["image_url"] is None
    assert account.draw()["status"] == "completed"
