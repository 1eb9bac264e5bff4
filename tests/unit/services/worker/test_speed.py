"""What a worker says of its speed."""

from __future__ import annotations

import pytest

from services.worker.speed import Speed


def test_nothing_is_known_before_the_first_run_and_nothing_is_learnt_of_one_that_was_given_up():
    speed = Speed()
    speed.begin(0.0)
    speed.end(5.0)
    assert (speed.total, speed.each) == (0.0, 0.0)


def test_runs_beside_each_other_are_fast_together_and_slow_each():
    speed = Speed()
    for turn in range(100):
        for _ in range(4):
            speed.begin(turn * 10.0)
        for _ in range(4):
            speed.end(turn * 10.0 + 8.0, work=16.0, device_s=8.0)
    assert speed.total == pytest.approx(8.0, rel=0.1)
    assert speed.each == pytest.approx(2.0)


def test_idle_time_does_not_count():
    speed = Speed()
    for turn in range(20):
        speed.begin(turn * 1000.0)
        speed.end(turn * 1000.0 + 2.0, work=10.0, device_s=2.0)
    assert speed.total == pytest.approx(5.0, rel=0.2)


def test_the_newest_runs_count_more():
    speed = Speed()
    for seconds in [1.0] * 30 + [4.0] * 200:
        speed.begin(0.0)
        speed.end(seconds, work=4.0, device_s=seconds)
    assert speed.total == pytest.approx(1.0, rel=0.1)
    assert speed.each == pytest.approx(1.0, rel=0.1)
