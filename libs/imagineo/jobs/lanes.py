"""Lanes of a queue: which plan takes which, how often each is served, and how many runs go before one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from imagineo.v1 import account_pb2, job_pb2

Lane: TypeAlias = "job_pb2.Lane.ValueType"

#: How many runs of each lane are served in one round while all lanes have some: none of them starves.
WEIGHTS: Final[dict[Lane, int]] = {job_pb2.LANE_PREMIUM: 4, job_pb2.LANE_BASIC: 2, job_pb2.LANE_FREE: 1}

_OF_PLAN: Final[dict[account_pb2.Plan.ValueType, Lane]] = {
    account_pb2.PLAN_PREMIUM: job_pb2.LANE_PREMIUM,
    account_pb2.PLAN_BASIC: job_pb2.LANE_BASIC,
    account_pb2.PLAN_FREE: job_pb2.LANE_FREE,
}


def lane_of(plan: account_pb2.Plan.ValueType) -> Lane:
    """The lane of a plan's runs; an unknown plan waits with the free ones."""
    return _OF_PLAN.get(plan, job_pb2.LANE_FREE)


def share(lane: Lane, before_in_lane: int, waiting: Mapping[Lane, int]) -> dict[Lane, int]:
    """Count, lane by lane, the runs that are served before a run with `before_in_lane` lane mates before it.

    While the run and its mates are served, another lane gets its weight's share of the turns, as far as it has runs.
    """
    own = WEIGHTS.get(lane, 1)
    ahead = {
        other: min(count, (before_in_lane + 1) * WEIGHTS.get(other, 1) // own)
        for other, count in waiting.items()
        if other != lane
    }
    return {**ahead, lane: before_in_lane}
