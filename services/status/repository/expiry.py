"""Reads and deletes what is past its time: old runs, idempotency keys, leftover images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from imagineo.postgres.pool import Database

from services.status.repository import queries

_SQL = queries("retention")


class Expiry:
    """Deletes in small statements; a call may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def old_runs(self, after: str, bound: str, finished_before: datetime, limit: int) -> list[tuple[str, str]]:
        """Terminal runs (run_id, organization_id) between two ids that ended long ago."""
        rows = await self._database.fetch(_SQL["old_runs"], after, bound, finished_before, limit)
        return [(row["run_id"], row["organization_id"]) for row in rows]

    async def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Delete terminal runs."""
        await self._database.execute(_SQL["delete_runs"], list(run_ids))

    async def delete_batches(self, bound: str) -> None:
        """Delete some batches with smaller ids that have no run left."""
        await self._database.execute(_SQL["delete_batches"], bound)

    async def delete_keys(self) -> None:
        """Delete some expired idempotency keys."""
        await self._database.execute(_SQL["delete_keys"])

    async def take_leftovers(self, limit: int) -> list[Mapping[str, Any]]:
        """Take runs whose folder may hold images of losing attempts, with their status and outcome."""
        return list(await self._database.fetch(_SQL["take_leftovers"], limit))

    async def drop_leftovers(self, run_ids: Sequence[str]) -> None:
        """Forget folders that are clean."""
        await self._database.execute(_SQL["drop_leftovers"], list(run_ids))
