"""The hot path: a list of checks becomes a list of verdicts, by the key cache and one database statement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from imagineo.deadline import within

from services.auth.accounts import Principal
from services.auth.admission import PAGES_PER_MINUTE, Check, Verdict, demands_of, over_key, verdicts_of
from services.auth.key_cache import KeyCache, known
from services.auth.last_use import LastUse
from services.auth.metrics import AuthMetrics
from services.auth.repository import Repository, Settlement
from services.auth.sessions import Sessions

#: How long a list of checks may take, its wait for earlier lists and both its statements included: less than a gateway
#: waits, so that it hears why, and a frozen database does not hold the lists behind this one for longer.
BUDGET_S: Final = 1.8


class Authorizer:
    """Answers checks. What is exact across replicas is the database's work; here is only what is cheap to forget."""

    def __init__(
        self,
        repository: Repository,
        cache: KeyCache,
        last_use: LastUse,
        sessions: Sessions,
        metrics: AuthMetrics | None,
        *,
        pages_per_minute: int = PAGES_PER_MINUTE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._repository = repository
        self._cache = cache
        self._last_use = last_use
        self._sessions = sessions
        self._metrics = metrics
        self._pages_per_minute = pages_per_minute
        self._now = now

    async def authorize_lists(self, lists: Sequence[Sequence[Check]]) -> list[list[Verdict]]:
        """Answer the lists of several callers in one statement: the flush of the server's coalescer.

        Raises:
            Unavailable: as `authorize` does, and after `BUDGET_S`.
        """
        async with within(BUDGET_S):
            verdicts = iter(await self.authorize([check for checks in lists for check in checks]))
        return [[next(verdicts) for _ in checks] for checks in lists]

    async def authorize(self, checks: Sequence[Check]) -> list[Verdict]:
        """Answer the checks in their order. Cancelled, it may have counted them.

        Raises:
            Unavailable: if the database is away; as far as can be known nothing was counted.
        """
        asked = await self._principals(checks)
        demands = demands_of(checks, asked, self._pages_per_minute)
        started_s = time.perf_counter()
        standings = await self._repository.admit(demands) if demands else {}
        verdicts = await self._within_keys(checks, verdicts_of(checks, asked, standings, self._pages_per_minute))
        # What counts for nobody was asked by no person and no program: it uses no key and keeps no session alive.
        used = [verdict for check, verdict in zip(checks, verdicts, strict=True) if not check.is_uncounted]
        if self._metrics:
            self._metrics.observe(used, time.perf_counter() - started_s if demands else None)
        principals = [verdict.principal for verdict in used if verdict.principal]
        self._last_use.note({principal.key_id for principal in principals if principal.key_id}, self._now())
        self._sessions.note({principal.session_id for principal in principals if principal.session_id}, self._now())
        return verdicts

    async def _within_keys(self, checks: Sequence[Check], verdicts: list[Verdict]) -> list[Verdict]:
        """Refuse what exceeds a key's own images of this month; its organization gets those images back."""
        asked = [
            (verdict.principal.key_id, run_id, place)
            for place, (check, verdict) in enumerate(zip(checks, verdicts, strict=True))
            if verdict.principal and verdict.principal.images_per_month and verdict.error is None
            for run_id in check.run_ids
        ]
        if not asked:
            return verdicts
        held = await self._repository.hold_for_keys(asked)
        refused = [(run_id, place) for _, run_id, place in asked if run_id not in held]
        if refused:
            await self._repository.settle([Settlement(run_id, completed=False) for run_id, _ in refused])
        over = {place for _, place in refused}
        return [over_key(verdict, self._now()) if at in over else verdict for at, verdict in enumerate(verdicts)]

    async def _principals(self, checks: Sequence[Check]) -> list[Principal | None]:
        found = await known(
            {check.key_sha256 for check in checks if not check.session_sha256},
            self._cache,
            self._repository.resolve_keys,
        )
        if sessions := {check.session_sha256 for check in checks if check.session_sha256}:
            found |= await self._sessions.principals(sessions)
        now = self._now()
        principals = (found[check.session_sha256 or check.key_sha256] for check in checks)
        return [None if principal is None or principal.is_expired(now) else principal for principal in principals]
