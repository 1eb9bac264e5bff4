from __future__ import annotations

import numpy as np
import pytest
from imagineo.v1 import job_pb2

from tests.bench.fleet.fairness import entitlement, fairness, jain

PREMIUM, BASIC, FREE = job_pb2.LANE_PREMIUM, job_pb2.LANE_BASIC, job_pb2.LANE_FREE


def shared(demand, capacity, lanes):
    return entitlement(np.array(demand, dtype=float), capacity, np.array(lanes)).tolist()


def test_jain_is_one_where_all_get_the_same_and_one_over_n_where_one_gets_all():
    assert jain(np.ones(5)) == pytest.approx(1.0)
    assert jain(np.array([1.0, 0, 0, 0])) == pytest.approx(0.25)


def test_nobody_is_entitled_to_more_than_he_asked_and_the_rest_is_shared_evenly():
    assert shared([1, 20, 20], 21, [FREE] * 3) == pytest.approx([1, 10, 10])


def test_lanes_share_by_their_weights():
    assert shared([90, 90, 90], 70, [PREMIUM, BASIC, FREE]) == pytest.approx([40, 20, 10])


def test_what_a_lane_does_not_ask_for_goes_to_the_others():
    assert shared([8, 90, 90], 38, [PREMIUM, BASIC, FREE]) == pytest.approx([8, 20, 10])


def test_all_that_is_asked_is_given_where_there_is_room():
    assert shared([1, 2, 3], 10, [FREE] * 3) == [1, 2, 3]


def runs(waits_s):
    """Two tenants that ask a hundred times each within ten minutes, and wait so long."""
    at_s = np.tile(np.arange(100) * 6.0, 2)
    tenants = np.repeat([0, 1], 100)
    return fairness(at_s, at_s + np.repeat(waits_s, 100), tenants, np.array([FREE, FREE]))


def test_who_waits_behind_others_is_worse_served_than_they():
    assert runs([90.0, 90.0]).jain == pytest.approx(1.0)
    assert runs([0.0, 400.0]).jain < 0.95


def test_minutes_in_which_nobody_waits_say_nothing():
    found = runs([0.0, 1.0])
    assert (found.crowded_minutes, found.tenants_count) == (0, 0)
