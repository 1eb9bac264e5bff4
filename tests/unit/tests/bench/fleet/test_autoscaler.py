from __future__ import annotations

import pytest

from tests.bench.fleet.autoscaler import Autoscaler


@pytest.fixture
def scaler():
    down = [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    return Autoscaler(minimum=1, maximum=50, target=10, stabilization_s=300, down=down)


def test_it_grows_by_the_queue_and_at_most_doubles_in_a_period(scaler):
    assert scaler.wanted(500, 10, 0.0) == 20
    assert scaler.wanted(500, 20, 15.0) == 40
    assert scaler.wanted(500, 40, 30.0) == 50


def test_a_small_pool_grows_by_four_pods_at_once(scaler):
    assert scaler.wanted(500, 1, 0.0) == 5


def test_a_tenth_more_or_less_changes_nothing(scaler):
    assert scaler.wanted(108, 10, 0.0) == 10


def test_it_shrinks_a_pod_a_minute_once_the_window_has_passed(scaler):
    pods, at_s, seen = 10, 0.0, []
    scaler.wanted(100, pods, at_s)
    while at_s < 600:
        at_s += 15
        pods = scaler.wanted(0, pods, at_s)
        seen.append((at_s, pods))
    assert [pods for at_s, pods in seen if at_s <= 300] == [10] * 20
    assert dict(seen)[600] in (4, 5)
