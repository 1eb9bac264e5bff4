"""What the probes answer, and that they answer over HTTP beside the metrics."""

from __future__ import annotations

import httpx
import pytest
from imagineo.telemetry import metrics
from imagineo.telemetry.probes import STILL_S, Probes


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def probes(clock: Clock) -> Probes:
    return Probes(clock)


def status(probes: Probes, path: str) -> int:
    answer = probes.answer(path)
    assert answer is not None
    return answer[0]


def test_a_loop_that_stands_still_is_not_alive(probes: Probes, clock: Clock):
    clock.now_s = STILL_S
    assert status(probes, "/livez") == 200
    clock.now_s += 1
    assert probes.answer("/livez") == (
        503,
        {"alive": False, "problems": {"event_loop": "the event loop has stood still for 31 s"}},
    )
    probes.beat()
    assert status(probes, "/livez") == 200


def test_a_device_that_hangs_is_not_alive(probes: Probes):
    problem = ""
    probes.watch("device", lambda: problem)
    assert status(probes, "/livez") == 200
    problem = "it hangs"
    assert status(probes, "/livez") == 503


def test_it_is_ready_once_it_has_begun_and_what_it_needs_answers(probes: Probes):
    assert status(probes, "/readyz") == 503
    assert status(probes, "/startupz") == 503
    probes.begin()
    assert status(probes, "/startupz") == 200
    assert status(probes, "/readyz") == 503
    probes.show({"postgres": True, "nats": False}, frozenset({"postgres"}))

    assert probes.answer("/readyz") == (
        200,
        {
            "ready": True,
            "draining": False,
            "dependencies": {
                "postgres": {"ok": True, "required": True},
                "nats": {"ok": False, "required": False},
            },
        },
    )
    probes.show({"postgres": False, "nats": True}, frozenset({"postgres"}))
    assert status(probes, "/readyz") == 503


def test_it_is_not_ready_while_it_drains_but_alive(probes: Probes):
    probes.begin()
    probes.show({}, frozenset())
    assert status(probes, "/readyz") == 200
    probes.drain()
    assert status(probes, "/readyz") == 503
    assert status(probes, "/livez") == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", ""])
def test_they_are_answered_over_http_beside_the_metrics(host: str, probes: Probes):
    port = metrics.serve(f"{host}:0", probes)
    url = f"http://{host or '127.0.0.1'}:{port}"

    assert httpx.get(f"{url}/livez", trust_env=False).json() == {"alive": True, "problems": {}}
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 503
    assert "python_info" in httpx.get(f"{url}/metrics", trust_env=False).text
