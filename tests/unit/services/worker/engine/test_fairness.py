from __future__ import annotations

import collections
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.engine.fairness import AHEAD_S, FairShare, next_to_join


@dataclass
class Asker:
    organization_id: str = "org_1"
    rows: int = 2
    deadline_s: float | None = None
    has_begun: bool = True


def shares(seconds, waves, steps=600):
    """The device time of each wave and of each organization after so many steps."""
    fairness, of_wave, of_organization = FairShare(), collections.Counter(), collections.Counter()
    for _ in range(steps):
        wave = fairness.pick(waves)
        fairness.charge(wave, seconds[wave], waves[wave])
        of_wave[wave] += seconds[wave]
        rows = sum(run.rows for run in waves[wave])
        for run in waves[wave]:
            of_organization[run.organization_id] += seconds[wave] * run.rows / rows
    return of_wave, of_organization


def test_waves_of_equally_many_runs_get_equal_time_however_long_their_steps():
    of_wave, _ = shares({"small": 1.0, "large": 7.0}, {"small": [Asker()], "large": [Asker()]})
    assert abs(of_wave["small"] - of_wave["large"]) <= 7


def test_a_wave_of_more_runs_of_one_organization_gets_more():
    of_wave, _ = shares({"many": 1.0, "one": 1.0}, {"many": [Asker()] * 9, "one": [Asker()]})
    assert of_wave["many"] / of_wave["one"] > 8


def test_an_organization_of_many_runs_gets_no_more_than_one_of_a_single_run():
    waves = {"many": [Asker("org_1")] * 9, "one": [Asker("org_2")]}
    _, had_s = shares({"many": 1.0, "one": 1.0}, waves)
    assert had_s["org_1"] == pytest.approx(had_s["org_2"], abs=1)


def test_what_two_organizations_have_in_one_wave_counts_for_both():
    waves = {"shared": [Asker("org_1"), Asker("org_2")], "own": [Asker("org_2")]}
    _, had_s = shares({"shared": 1.0, "own": 1.0}, waves)
    assert had_s["org_1"] == pytest.approx(had_s["org_2"], abs=1)


@given(st.lists(st.floats(0.001, 5), min_size=2, max_size=5), st.lists(st.integers(1, 3), min_size=5, max_size=5))
def test_no_organization_starves(step_s, organizations):
    waves = {wave: [Asker(f"org_{organizations[wave]}")] for wave in range(len(step_s))}
    _, had_s = shares(dict(enumerate(step_s)), waves)
    assert max(had_s.values()) - min(had_s.values()) <= 2 * max(step_s) + 1e-6


def test_a_wave_that_comes_late_has_no_arrears_to_catch_up():
    fairness, asker = FairShare(), [Asker()]
    for _ in range(100):
        fairness.charge(fairness.pick({"old": asker}), 1.0, asker)
    picked = []
    for _ in range(10):
        wave = fairness.pick({"old": asker, "new": asker})
        fairness.charge(wave, 1.0, asker)
        picked.append(wave)
    assert picked.count("new") == 5


def test_a_run_whose_deadline_is_near_begins_first_and_then_takes_turns():
    fairness = FairShare()
    waves = {
        "later": [Asker(deadline_s=9.0, has_begun=False)],
        "soon": [Asker(deadline_s=5.0, has_begun=False)],
        "never": [Asker()],
    }
    picked = []
    for _ in range(9):
        wave = fairness.pick(waves)
        fairness.charge(wave, 1.0, waves[wave])
        waves[wave] = [Asker(deadline_s=waves[wave][0].deadline_s)]
        picked.append(wave)
    assert picked[:3] == ["soon", "later", "never"]
    assert collections.Counter(picked) == {"soon": 3, "later": 3, "never": 3}


def test_runs_that_keep_coming_with_deadlines_do_not_starve_those_that_have_begun():
    waves = {"urgent": [Asker(deadline_s=1.0, has_begun=False), Asker()], "begun": [Asker()]}
    of_wave, _ = shares({"urgent": 0.5, "begun": 0.5}, waves)
    assert of_wave["urgent"] / 2 == pytest.approx(of_wave["begun"], abs=AHEAD_S + 1)


def test_a_deadline_takes_no_time_from_another_organization():
    waves = {"urgent": [Asker("org_1", deadline_s=1.0, has_begun=False)], "other": [Asker("org_2")]}
    _, had_s = shares({"urgent": 1.0, "other": 1.0}, waves)
    assert had_s["org_1"] == pytest.approx(had_s["org_2"], abs=1)


def test_the_organization_with_the_fewest_rows_joins_first_then_the_nearest_deadline_then_the_first_come():
    waiting = [Asker("org_1"), Asker("org_2"), Asker("org_2", deadline_s=5.0), Asker("org_2", deadline_s=5.0)]
    stepped, left, order = [Asker("org_1")], list(waiting), []
    while left:
        run = left.pop(next_to_join(left, stepped))
        stepped.append(run)
        order += [index for index, one in enumerate(waiting) if one is run]
    assert order == [2, 3, 0, 1]
