from __future__ import annotations

import collections

from hypothesis import given
from hypothesis import strategies as st

from services.worker.engine.fairness import FairShare


def shares(seconds, run_counts, steps=600):
    fairness, had_s = FairShare(), collections.Counter()
    for _ in range(steps):
        wave = fairness.pick(seconds)
        fairness.charge(wave, seconds[wave], run_counts[wave])
        had_s[wave] += seconds[wave]
    return had_s


def test_waves_of_equally_many_runs_get_equal_time_however_long_their_steps():
    had_s = shares({"small": 1.0, "large": 7.0}, {"small": 1, "large": 1})
    assert abs(had_s["small"] - had_s["large"]) <= 7


def test_a_wave_of_more_runs_gets_more():
    had_s = shares({"many": 1.0, "one": 1.0}, {"many": 9, "one": 1})
    assert had_s["many"] / had_s["one"] > 8


@given(st.lists(st.floats(0.001, 5), min_size=2, max_size=5))
def test_no_wave_starves(step_s):
    had_s = shares(dict(enumerate(step_s)), collections.Counter(range(len(step_s))))
    assert max(had_s.values()) - min(had_s.values()) <= 2 * max(step_s) + 1e-6


def test_a_wave_that_comes_late_has_no_arrears_to_catch_up():
    fairness = FairShare()
    for _ in range(100):
        fairness.charge(fairness.pick(["old"]), 1.0, 1)
    picked = []
    for _ in range(10):
        wave = fairness.pick(["old", "new"])
        fairness.charge(wave, 1.0, 1)
        picked.append(wave)
    assert picked.count("new") == 5
