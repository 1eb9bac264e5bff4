"""What each plan allows, and which numbers are in force for one organization. Pure."""

from __future__ import annotations

import dataclasses
import enum
from typing import Final


class Plan(enum.StrEnum):
    """What an organization pays for."""

    FREE = "free"
    BASIC = "basic"
    PREMIUM = "premium"


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that bound one organization; as overrides, 0 means "the plan's"."""

    requests_per_minute: int = 0
    images_per_month: int = 0
    queued_runs: int = 0


#: Source of the requests per minute: the public documentation's table of plans.
PLAN_LIMITS: Final = {
    Plan.FREE: Limits(requests_per_minute=10, images_per_month=100, queued_runs=20),
    Plan.BASIC: Limits(requests_per_minute=30, images_per_month=1_000, queued_runs=100),
    Plan.PREMIUM: Limits(requests_per_minute=100, images_per_month=10_000, queued_runs=1_000),
}

#: The largest number that an operator may set.
MAX_LIMIT: Final = 10**12


def limits_in_force(plan: Plan, overrides: Limits) -> Limits:
    """The plan's numbers, each replaced where the organization has its own."""
    base = PLAN_LIMITS[plan]
    return Limits(
        requests_per_minute=overrides.requests_per_minute or base.requests_per_minute,
        images_per_month=overrides.images_per_month or base.images_per_month,
        queued_runs=overrides.queued_runs or base.queued_runs,
    )
