"""The share of an organization's minute for those who draw nothing: viewers, and keys that may not draw. Pure.

Every request counts one against the plan's limit. These are bounded before it, all of them together, so that a viewer's
open pages or a monitor that asks too often leave the other half to those who draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from imagineo import errors

from services.auth.accounts import Permission, Principal
from services.auth.admission import NO_ORGANIZATION, Check, Demand, RateLimit, Standing, Verdict, rate_limit, wait_s
from services.auth.plans import Limits

#: One part in so many of the plan's requests.
_PART: Final = 2


def share_of(limit: int) -> int:
    """How many of an organization's requests of a minute are for those who draw nothing."""
    return max(1, limit // _PART)


def window_of(principal: Principal) -> str:
    """The name of the share's window; no organization has it."""
    return f"{NO_ORGANIZATION}reads:{principal.organization_id}"


def is_bounded(check: Check, principal: Principal | None) -> bool:
    """Whether a check counts in the share; what counts for nobody or for its user does not."""
    if principal is None or check.is_uncounted or Permission.GENERATIONS_WRITE in principal.permissions:
        return False
    return not (check.is_page and principal.session_id)


def demands_on_shares(checks: Sequence[Check], principals: Sequence[Principal | None]) -> dict[str, Demand]:
    """What is asked of each organization's share; empty where nobody is bounded, which is the usual case."""
    demands: dict[str, Demand] = {}
    for check, principal in zip(checks, principals, strict=True):
        if principal is not None and is_bounded(check, principal):
            bound = Limits(requests_per_minute=share_of(principal.limits.requests_per_minute))
            demands.setdefault(window_of(principal), Demand(bound)).request_count += 1
    return demands


def within_shares(
    checks: Sequence[Check], principals: Sequence[Principal | None], standings: dict[str, Standing]
) -> list[Verdict | None]:
    """Where each bounded check stands in its share, first come, first served; None: it is not bounded."""
    places: dict[str, int] = {}
    found: list[Verdict | None] = []
    for check, principal in zip(checks, principals, strict=True):
        if principal is None or not is_bounded(check, principal):
            found.append(None)
            continue
        window, limit = window_of(principal), share_of(principal.limits.requests_per_minute)
        admission = standings[window].admission
        place = places[window] = places.get(window, 0) + 1
        error = _refusal(principal, limit, wait_s(admission)) if place > admission.admitted else None
        found.append(Verdict(error, principal, rate_limit(limit, admission, place)))
    return found


def merged(shares: Sequence[Verdict | None], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The answers to all checks: those that their share refused, and in their order the verdicts of the others."""
    rest = iter(verdicts)
    return [share if share and share.error else _bounded(next(rest), share) for share in shares]


def _bounded(verdict: Verdict, share: Verdict | None) -> Verdict:
    """The organization's verdict, with what is left of the share where that is less."""
    if share is None or share.rate_limit is None or verdict.rate_limit is None:
        return verdict
    own, whole = share.rate_limit, verdict.rate_limit
    tighter = own if own.remaining <= whole.remaining else RateLimit(own.limit, whole.remaining, whole.reset_at_epoch_s)
    return dataclasses.replace(verdict, rate_limit=tighter)


def _refusal(principal: Principal, limit: int, retry_after_s: float) -> errors.RateLimited:
    return errors.RateLimited(
        f"Viewers and keys that may not draw share {limit} of the account's {principal.limits.requests_per_minute} "
        "requests a minute, and have used them up.",
        metadata={"limit": str(limit)},
        retry_after_s=retry_after_s,
    )
