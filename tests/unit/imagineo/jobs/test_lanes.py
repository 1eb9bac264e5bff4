"""Which plan takes which lane, and who is served before whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.jobs.lanes import WEIGHTS, lane_of, share
from imagineo.v1 import account_pb2, job_pb2

FREE, BASIC, PREMIUM = job_pb2.LANE_FREE, job_pb2.LANE_BASIC, job_pb2.LANE_PREMIUM
WAITING = st.dictionaries(st.sampled_from([FREE, BASIC, PREMIUM]), st.integers(0, 10_000))


def test_each_plan_has_its_lane_and_an_unknown_one_waits_with_the_free():
    assert lane_of(account_pb2.PLAN_PREMIUM) == PREMIUM
    assert lane_of(account_pb2.PLAN_BASIC) == BASIC
    assert lane_of(account_pb2.PLAN_FREE) == lane_of(account_pb2.PLAN_UNSPECIFIED) == FREE


def test_better_lanes_are_served_more_often_and_none_starves():
    full = {FREE: 100, BASIC: 100, PREMIUM: 100}
    assert share(FREE, 0, full) == {FREE: 0, BASIC: 2, PREMIUM: 4}
    assert share(PREMIUM, 3, full) == {PREMIUM: 3, BASIC: 2, FREE: 1}
    assert share(BASIC, 9, {PREMIUM: 5}) == {BASIC: 9, PREMIUM: 5}


@given(lane=st.sampled_from(sorted(WEIGHTS)), before=st.integers(0, 10_000), waiting=WAITING)
def test_nobody_is_served_before_that_is_not_there(lane, before, waiting):
    counted = share(lane, before, waiting)
    assert counted.pop(lane) == before
    assert all(0 <= count <= waiting[other] for other, count in counted.items())


@pytest.mark.parametrize("waiting", [{}, {FREE: 50}, {FREE: 50, PREMIUM: 50}])
@given(before=st.integers(0, 1000))
def test_a_later_place_is_never_served_sooner(waiting, before):
    assert sum(share(BASIC, before, waiting).values()) < sum(share(BASIC, before + 1, waiting).values())
