from __future__ import annotations

from services.auth.plans import PLAN_LIMITS, Limits, Plan, limits_in_force


def test_the_requests_a_minute_are_the_documented_ones():
    assert [PLAN_LIMITS[plan].requests_per_minute for plan in Plan] == [10, 30, 100]


def test_an_override_replaces_only_its_own_number():
    assert limits_in_force(Plan.FREE, Limits(requests_per_minute=10**9)) == Limits(10**9, 100, 20)
    assert limits_in_force(Plan.BASIC, Limits()) == PLAN_LIMITS[Plan.BASIC]
