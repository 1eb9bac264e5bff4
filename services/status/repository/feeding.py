"""Stores the way of a batch's items into the queues: what each base model's batches hold, and their release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from imagineo.postgres.pool import Database
from imagineo.v1 import job_pb2

from services.status.repository import queries
from services.status.turns import Feed, turns

_SQL = queries("feeding")
_COUNTERS = queries("submissions")["lock_counters"]


class Feeding:
    """Releases items. Locks: the base model's window, runs (without waiting), then counters in key order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def base_models(self) -> list[str]:
        """Base models that some batch holds items for."""
        return [row["base_model_slug"] for row in await self._database.fetch(_SQL["base_models"])]

    async def feeds(self, base_model_slug: str, window: int) -> list[Feed]:
        """What the batches of a base model hold, and have in the queues."""
        return _feeds(await self._database.fetch(_SQL["feeds"], base_model_slug, window))

    async def release(self, base_model_slug: str, window: int) -> list[Mapping[str, Any]]:
        """Release what is due, by `turns`; gives run_id and job of each, to be published.

        Raises:
            Unavailable: the commit may or may not have happened; what was released is the relay's then.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_window"], base_model_slug)
            feeds = _feeds(await connection.fetch(_SQL["feeds"], base_model_slug, window))
            due = turns(window, feeds)
            released = []
            if due:
                columns = [list(due), list(due.values())]
                released = list(await connection.fetch(_SQL["release"], base_model_slug, *columns))
                await self._count(connection, released)
            await connection.execute(_SQL["drop_feeds"], base_model_slug)
        return released

    async def _count(self, connection: Any, released: Sequence[Mapping[str, Any]]) -> None:
        amounts = Counter(row["organization_id"] for row in released)
        await connection.fetch(_COUNTERS, sorted(amounts))
        await connection.execute(_SQL["raise_counters"], list(amounts), list(amounts.values()))


def _feeds(rows: Sequence[Mapping[str, Any]]) -> list[Feed]:
    return [
        Feed(
            batch_id=row["batch_id"],
            organization_id=row["organization_id"],
            lane=job_pb2.Lane.ValueType(row["lane"] or 0),
            held_count=row["held_count"],
            flying_count=row["flying_count"],
            room_count=row["room_count"] or 0,
            queued_runs_limit=row["queued_runs_limit"] or 0,
            released_at_s=row["released_at"].timestamp() if row["released_at"] else float("-inf"),
        )
        for row in rows
    ]
