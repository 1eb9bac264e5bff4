"""Repairs reservations that no event and no release closed: a gateway died between reserving and accepting, say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from imagineo import errors
from imagineo.rpc.client import call
from imagineo.v1 import generation_pb2 as pb
from imagineo.v1 import generation_service_pb2 as service_pb

from services.auth.metrics import AuthMetrics
from services.auth.repository import Held, Repository, Settlement
from services.auth.settlement import ended

log = logging.getLogger(__name__)

#: A reservation older than this is looked into.
ORPHAN_AGE_S: Final = 300.0
#: How long a closed reservation stays known, so that a late or repeated event finds it: longer than EVENTS keeps any.
CLOSED_AGE_S: Final = 7 * 86_400.0
INTERVAL_S: Final = 60.0
_PAGE: Final = 1000
_ASK_TIMEOUT_S: Final = 5.0

#: Deletes some of what is over besides.
Tidy = Callable[[], Awaitable[None]]
AskStatuses = Callable[[Sequence[str]], Awaitable[dict[str, pb.Status.ValueType]]]


def asker(stub: Any) -> AskStatuses:
    """Ask the status service where runs stand; unknown runs are left out of the answer."""

    async def ask(run_ids: Sequence[str]) -> dict[str, pb.Status.ValueType]:
        request = service_pb.GetStatusesRequest(run_ids=run_ids)
        response = await call(stub.GetStatuses, request, timeout_s=_ASK_TIMEOUT_S)
        return dict(response.statuses)

    return ask


def repairs(held: Sequence[Held], statuses: dict[str, pb.Status.ValueType]) -> list[Settlement]:
    """Decide: a run that status does not know was never accepted; one that ended is settled; others are let be."""
    settlements = []
    for each in held:
        completed = ended(statuses[each.run_id]) if each.run_id in statuses else False
        if completed is not None:
            settlements.append(Settlement(each.run_id, completed, each.organization_id, each.month))
    return settlements


class Sweeper:
    """Runs beside the server in every replica: what two of them do is done once."""

    def __init__(
        self, repository: Repository, ask: AskStatuses, metrics: AuthMetrics | None, tidy: Tidy | None = None
    ) -> None:
        self._repository = repository
        self._ask = ask
        self._tidy = tidy
        self._metrics = metrics

    async def run(self) -> None:
        """Sweep for ever; while status or the database is away the sweep waits for its next turn."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.sweep()
            except errors.ImagineoError as problem:
                log.info("the sweep of reservations waits: %s", problem)

    async def sweep(self, *, orphan_age_s: float = ORPHAN_AGE_S, closed_age_s: float = CLOSED_AGE_S) -> int:
        """Go once through all old reservations; returns how many were closed.

        Raises:
            ImagineoError: if status or the database is away; what was closed before stays closed.
        """
        closed = 0
        after = (datetime.min.replace(tzinfo=UTC), "")
        while page := await self._repository.held_since(orphan_age_s, after, _PAGE):
            settlements = repairs(page, await self._ask([each.run_id for each in page]))
            if settlements:
                closed += await self._repository.settle(settlements)
            after = (page[-1].changed_at, page[-1].run_id)
        while await self._repository.forget_closed(closed_age_s, _PAGE) == _PAGE:
            pass
        if self._tidy:
            await self._tidy()
        if closed:
            log.info("closed %d orphaned reservations", closed)
        if self._metrics:
            self._metrics.settled("sweeper", closed)
        return closed
