"""Marks runs as deleted, finds what is left of them, and erases it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagineo.postgres.pool import Database

from services.status.repository import queries

_SQL = queries("deletion")


class Deletion:
    """Deletes in small statements; a call may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark(self, organization_id: str, run_ids: Sequence[str]) -> list[str]:
        """Hide an organization's runs from all who read; gives those that were there."""
        rows = await self._database.fetch(_SQL["mark_deleted"], list(run_ids), organization_id)
        return [row["run_id"] for row in rows]

    async def marked(self, limit: int) -> list[Mapping[str, Any]]:
        """Runs that are marked and not erased, the longest marked first."""
        return list(await self._database.fetch(_SQL["deleted_runs"], limit))

    async def erase(self, run_ids: Sequence[str]) -> None:
        """Delete the rows of marked terminal runs that are old enough."""
        await self._database.execute(_SQL["erase_runs"], list(run_ids))
