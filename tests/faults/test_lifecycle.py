"""The platform as a whole: it ends without a trace, keeps its data, and two of them live side by side."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account


@pytest.fixture
def second(platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """Another platform beside the one that runs; not started yet."""
    other = Platform(tmp_path)
    yield other
    if other.process and other.process.poll() is None:
        other.stop()


def members(running: Platform) -> list[psutil.Process]:
    return [process for group in running.processes().values() for process in group]


def test_sigterm_leaves_nothing_running_and_a_second_start_keeps_the_data(platform: Platform, second: Platform) -> None:
    second.start()
    alive = members(second)
    first_image = (second.data / "first-image.png").read_bytes()
    key = second.ready["api_key"]
    with Account(second.ready["url"], key) as account:
        run = account.get("/v1/generations").json()["generations"][0]
        assert account.image(run) == first_image

    assert second.stop() == 0
    assert not [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not second.ready_file.exists()
    assert stat.S_IMODE((second.data / "accounts.json").stat().st_mode) == 0o600

    second.start()
    assert second.ready["api_key"] == key
    with Account(second.ready["url"], key) as account:
        assert account.generation(run["run_id"])["status"] == "completed"
        assert len(account.get("/v1/generations").json()["generations"]) == 1
    with Account(platform.ready["url"], platform.ready["api_key"]) as first:
        assert first.get(f"/v1/generations/{run['run_id']}").status_code == 404

    orphans = members(second)
    assert second.process is not None
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.communicate()
    eventually(
        lambda: not [process for process in orphans if process.is_running()],
        within_s=SURELY_S,
        what="the children of a killed supervisor end",
    )
