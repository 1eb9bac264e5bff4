"""From a list of checks to the demands on each organization, and from what was admitted back to verdicts. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from imagineo import errors

from services.auth.accounts import Permission, Principal
from services.auth.plans import Limits
from services.auth.window import SECOND_US, WINDOW_US, Admission

#: What names in the windows begin with that are no organization's; those begin with `org_`.
NO_ORGANIZATION: Final = "try:"
#: What one person may load of the dashboard in any 60 seconds; a dozen tabs that ask again by themselves stay below.
PAGES_PER_MINUTE: Final = 240


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One request to authorize."""

    key_sha256: bytes
    permission: Permission | None
    reserve_run_id: str = ""
    more_run_ids: tuple[str, ...] = ()
    session_sha256: bytes = b""
    """A session's instead of a key's."""
    is_uncounted: bool = False
    """It is no request against the limit, and reserves nothing."""
    is_page: bool = False
    """Where a session asks, it counts for its user, not for the organization, and reserves nothing."""

    @property
    def run_ids(self) -> tuple[str, ...]:
        """All runs that an image is asked for."""
        return (self.reserve_run_id, *self.more_run_ids) if self.reserve_run_id else ()


@dataclasses.dataclass(slots=True)
class Demand:
    """What one statement asks of one organization: requests, and images by the place (from 1) of their request."""

    limits: Limits
    request_count: int = 0
    runs: list[tuple[str, int]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What the statement answered for one organization."""

    admission: Admission
    held_run_ids: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimit:
    """Where an organization stands with its requests of this minute."""

    limit: int
    remaining: int
    reset_at_epoch_s: int


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one check; no error: it is allowed."""

    error: errors.ImagineoError | None = None
    principal: Principal | None = None
    rate_limit: RateLimit | None = None


def payer_of(check: Check, principal: Principal, pages_per_minute: int) -> tuple[str, Limits]:
    """Whose window a check counts in, and what bounds it: the organization's, or of pages the user's.

    Of the user, not of the session: they may have as many sessions as they like.
    """
    if check.is_page and principal.session_id:
        return f"{NO_ORGANIZATION}pages:{principal.user_id}", Limits(requests_per_minute=pages_per_minute)
    return principal.organization_id, principal.limits


def demands_of(
    checks: Sequence[Check], principals: Sequence[Principal | None], pages_per_minute: int = PAGES_PER_MINUTE
) -> dict[str, Demand]:
    """Count what each payer asks, in order of arrival. A check that lacks its permission reserves nothing."""
    demands: dict[str, Demand] = {}
    for check, principal in zip(checks, principals, strict=True):
        if principal is None or check.is_uncounted:
            continue
        payer, limits = payer_of(check, principal, pages_per_minute)
        demand = demands.setdefault(payer, Demand(limits))
        demand.request_count += 1
        if check.permission in principal.permissions:
            demand.runs += [(run_id, demand.request_count) for run_id in check.run_ids]
    return demands


def verdicts_of(
    checks: Sequence[Check],
    principals: Sequence[Principal | None],
    standings: dict[str, Standing],
    pages_per_minute: int = PAGES_PER_MINUTE,
) -> list[Verdict]:
    """Hand out what was admitted, first come, first served."""
    places: dict[str, int] = {}
    verdicts: list[Verdict] = []
    for check, principal in zip(checks, principals, strict=True):
        if principal is None:
            verdicts.append(Verdict(errors.InvalidSession() if check.session_sha256 else errors.InvalidApiKey()))
            continue
        if check.is_uncounted:
            verdicts.append(Verdict(_denial(check, principal), principal))
            continue
        payer, limits = payer_of(check, principal, pages_per_minute)
        place = places[payer] = places.get(payer, 0) + 1
        standing, limit = standings[payer], limits.requests_per_minute
        refusal = _refusal(check, principal, standing, place, limit)
        verdicts.append(Verdict(refusal, principal, rate_limit(limit, standing.admission, place)))
    return verdicts


def rate_limit(limit: int, admission: Admission, place: int) -> RateLimit:
    """Where the organization stands after its request number `place` (from 1) of the statement; 0: before the first."""
    used = admission.used_before + min(place, admission.admitted)
    return RateLimit(limit, max(limit - used, 0), -(-(admission.oldest_us + WINDOW_US) // SECOND_US))


def _refusal(
    check: Check, principal: Principal, standing: Standing, place: int, limit: int
) -> errors.ImagineoError | None:
    admission = standing.admission
    if place > admission.admitted:
        return errors.RateLimited(
            f"You asked for more than {limit} pages in a minute." if check.is_page and principal.session_id else None,
            metadata={"limit": str(limit)},
            retry_after_s=max(admission.free_us - admission.now_us, 1_000) / SECOND_US,
        )
    if denial := _denial(check, principal):
        return denial
    if not standing.held_run_ids.issuperset(check.run_ids):
        now = datetime.fromtimestamp(admission.now_us / SECOND_US, UTC)
        return errors.QuotaExceeded(
            metadata={"limit": str(principal.limits.images_per_month)},
            retry_after_s=max((next_month(now) - now).total_seconds(), 1.0),
        )
    return None


def _denial(check: Check, principal: Principal) -> errors.PermissionDenied | None:
    if check.permission is not None and check.permission in principal.permissions:
        return None
    metadata = {"permission": check.permission or ""}
    if principal.is_barred:
        return errors.PermissionDenied("Confirm your mail address first, by the link in your mail.", metadata=metadata)
    if principal.role is not None:
        message = f"Your role, {principal.role}, lacks the permission '{check.permission or ''}'."
        return errors.PermissionDenied(message, metadata=metadata)
    return errors.PermissionDenied(metadata=metadata)


def over_key(verdict: Verdict, now: datetime) -> Verdict:
    """The same check, refused because its key's own images of this month are used up."""
    limit = verdict.principal.images_per_month if verdict.principal else 0
    refusal = errors.QuotaExceeded(
        f"The key used up its {limit} images of this month.",
        metadata={"limit": str(limit)},
        retry_after_s=max((next_month(now) - now).total_seconds(), 1.0),
    )
    return dataclasses.replace(verdict, error=refusal)


def next_month(now: datetime) -> datetime:
    """When the month of `now` ends, in UTC."""
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
