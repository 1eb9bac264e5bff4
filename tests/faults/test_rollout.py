"""A rolling upgrade under load: replicas of every service are replaced one by one, by SIGTERM, as a rollout does it.

No request fails, not even one on a connection kept open, no run and no webhook is lost, and streams go on.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import platform as local
from tests.support.deadlines import SURELY_S
from tests.support.replicas import pods
from tests.support.rollouts import CONTROL, DELAY_S, DRAIN_S, WORKER_DRAIN_S, Rollout

pytestmark = pytest.mark.timeout(900)  # a dozen programs start beside the platform, four of them with torch


@pytest.fixture(scope="module")
def rollout() -> Iterator[Rollout]:
    """A platform whose workers and gateways are brought by the test; its own gateway gets no requests."""
    with (
        local.platform("--no-first-image", "--workers", "0") as platform,
        pods() as started,
        platform.account() as account,
    ):
        made = Rollout(platform, account, started)
        with made.begun():
            yield made


def test_replacing_gateways_fails_no_request_and_their_streams_are_taken_up_again(rollout: Rollout) -> None:
    with rollout.load() as load:
        follower = rollout.follower()
        for old in rollout.gateways:
            rollout.knows(rollout.gateway(f"{old.name}-new").until_ready())
            old.terminate()
            assert old.ended(DELAY_S + DRAIN_S + SURELY_S) == 0, old.log[-2000:]
            load.comes_on()
        follower.ends()
        assert follower.streams_count > 1


def test_replacing_control_services_fails_no_request_and_streams_go_on(rollout: Rollout) -> None:
    new = {name: rollout.control(name) for name in CONTROL}
    for pod in new.values():
        pod.until_ready()
    with rollout.load() as load:
        for name, old in rollout.controls.items():
            follower = rollout.follower()
            old.terminate()
            assert old.ended(SURELY_S) == 0, old.log[-2000:]
            load.comes_on()
            rollout.replace_own(name)
            load.comes_on()
            follower.ends()
            assert follower.streams_count == 1


def test_replacing_workers_loses_no_run(rollout: Rollout) -> None:
    with rollout.load() as load:
        for old in rollout.workers:
            rollout.worker(f"{old.name}-new").until_ready()
            old.terminate()
            assert old.ended(WORKER_DRAIN_S + SURELY_S) == 0, old.log[-2000:]
            load.comes_on()
