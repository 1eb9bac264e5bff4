"""Deliveries: the queue and the log. Every moment comes from the caller; the database's clock decides nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from imagineo.postgres.pool import Database
from imagineo.v1 import webhook_pb2 as pb

from services.webhooks.repository import queries
from services.webhooks.repository.endpoints import SQL as ENDPOINTS
from services.webhooks.schedule import Answer, Next

SQL: Final = queries("deliveries")

_FORGOTTEN_AT_ONCE: Final = 1_000

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """One event for one receiver."""

    delivery_id: str
    organization_id: str
    webhook_id: str
    """Empty: the run's own webhook_url."""
    url: str
    """Of such a run; empty: the endpoint's."""
    origin: str
    event_id: str
    event_type: str
    subject_id: str
    occurred_at: datetime
    payload: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Filters:
    """Which lines of the log a page shows; empty: all."""

    webhook_id: str = ""
    states: Sequence[int] = ()
    subject_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """How many attempts may begin now."""

    total: int
    suspect: int
    """Of them, where something failed just before."""
    at_one_origin: int
    of_one_owner: int


class Deliveries:
    """Reads and writes deliveries.

    Raises:
        Unavailable: from every method, if the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, drafts: Sequence[Draft], now: datetime) -> int:
        """Queue events; one that was queued before is passed over. Returns how many are new."""
        rows = [dataclasses.astuple(draft) for draft in drafts]
        tag = await self._database.execute(
            SQL["insert_deliveries"], *(list(column) for column in zip(*rows, strict=True)), now
        )
        return int(tag.rpartition(" ")[2])

    async def claim(self, room: Room, now: datetime, until: datetime) -> list[Row]:
        """Lease what is due; replicas take turns, so that the bounds hold over all of them."""
        async with self._database.transaction() as connection:
            await connection.execute(SQL["take_turn"])
            return list(
                await connection.fetch(
                    SQL["claim"], now, until, room.at_one_origin, room.total, room.suspect, room.of_one_owner
                )
            )

    async def finish(
        self, row: Row, answer: Answer, following: Next, attempted_at: datetime, now: datetime
    ) -> datetime | None:
        """Write down one attempt, with its endpoint's health; gives since when the endpoint fails, None: it does not.

        An attempt whose lease was lost to another changes nothing.
        """
        async with self._database.transaction() as connection:
            webhook_id = await connection.fetchval(
                SQL["finish"],
                row["delivery_id"],
                row["claims"],
                following.state,
                following.at,
                attempted_at,
                answer.status_code,
                answer.duration_ms,
                answer.error,
                answer.response,
            )
            if not webhook_id:
                return None
            if answer.is_success:
                await connection.execute(SQL["note_success"], webhook_id)
                return None
            failing_since: datetime | None = await connection.fetchval(SQL["note_failure"], webhook_id, now)
            return failing_since

    async def drop(self, row: Row, why: str, now: datetime) -> None:
        """End a delivery that cannot be made at all."""
        answer = Answer(error=why)
        await self.finish(row, answer, Next(pb.DELIVERY_STATE_DROPPED), now, now)

    async def switch_off(
        self, webhook_id: str, reason: pb.DisabledReason.ValueType, why: str, now: datetime
    ) -> Row | None:
        """Switch an endpoint off and drop what waits for it; None if it was off already."""
        async with self._database.transaction() as connection:
            row: Row | None = await connection.fetchrow(ENDPOINTS["switch_off"], webhook_id, reason, now)
            if row is not None:
                await connection.execute(ENDPOINTS["drop_pending"], webhook_id, why)
        return row

    async def note(self, draft: Draft, why: str, now: datetime) -> None:
        """Write a line into an endpoint's log that nothing is posted for."""
        await self._database.execute(
            SQL["insert_note"],
            draft.delivery_id,
            draft.organization_id,
            draft.webhook_id,
            draft.origin,
            draft.event_id,
            draft.event_type,
            draft.payload,
            why,
            now,
        )

    async def page(self, organization_id: str, before: str, filters: Filters, limit: int) -> list[Row]:
        """An organization's, newest first, older than `before` (an id, or the largest text)."""
        states = list(filters.states) or None
        return list(
            await self._database.fetch(
                SQL["list_deliveries"], organization_id, filters.webhook_id, before, states, filters.subject_id, limit
            )
        )

    async def read(self, organization_id: str, delivery_id: str, webhook_id: str) -> Row | None:
        """Read one; None if the organization has no such delivery."""
        return await self._database.fetchrow(SQL["read_delivery"], organization_id, delivery_id, webhook_id)

    async def redeliver(self, delivery_id: str, now: datetime) -> None:
        """Begin a new round of attempts; one that is on its way is let be."""
        await self._database.execute(SQL["redeliver"], delivery_id, now)

    async def forget(self, before_id: str) -> int:
        """Delete what is over and older than an id; returns how many."""
        total = 0
        while rows := await self._database.fetch(SQL["forget_old"], before_id, _FORGOTTEN_AT_ONCE):
            total += len(rows)
        return total

    async def backlog(self, now: datetime) -> tuple[int, float, float]:
        """How many are pending; the age in seconds of the oldest round, and of the oldest that was never tried."""
        row = await self._database.fetchrow(SQL["backlog"], now)
        if row is None:
            return 0, 0.0, 0.0
        ages_s = [(now - row[name]).total_seconds() for name in ("oldest_at", "oldest_untried_at")]
        return row["pending"], ages_s[0], ages_s[1]
