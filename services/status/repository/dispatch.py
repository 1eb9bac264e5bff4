"""Stores what is still to be sent: jobs to the stream, endings to those who settle by them; and what time decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagineo.postgres.pool import Database

from services.status.repository import queries

_SQL = queries("dispatch")
_HASTEN_BATCH = 5000


class Dispatch:
    """The outboxes. Taking a row puts off its next look, so that several replicas share the work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark_published(self, published: Sequence[tuple[str, int]]) -> None:
        """Note (run_id, stream sequence); a note lost in a crash only makes the relay look again."""
        columns = [list(column) for column in zip(*sorted(published), strict=True)]
        async with self._database.transaction() as connection:
            await connection.execute("SET LOCAL synchronous_commit = off")
            await connection.execute(_SQL["mark_published"], *columns)

    async def take_due(self, limit: int, *, with_running: bool) -> list[Mapping[str, Any]]:
        """Take unfinished runs that are due for a look."""
        return list(await self._database.fetch(_SQL["take_due"], limit, with_running))

    async def hasten(self) -> None:
        """Make all published queued runs due now; a long queue takes several statements."""
        after = ""
        while rows := await self._database.fetch(_SQL["hasten"], after, _HASTEN_BATCH):
            after = max(row["run_id"] for row in rows)

    async def look_soon(self, run_ids: Sequence[str]) -> None:
        """Make runs due again in a moment: what was looked at could not be told."""
        await self._database.execute(_SQL["look_soon"], list(run_ids))

    async def overdue(self) -> list[str]:
        """Runs whose deadline passed or whose last worker is silent."""
        return [row["run_id"] for row in await self._database.fetch(_SQL["overdue_runs"])]

    async def take_announcements(self, limit: int) -> list[Mapping[str, Any]]:
        """Take endings that are to be announced."""
        return list(await self._database.fetch(_SQL["take_announcements"], limit))

    async def drop_announcements(self, run_ids: Sequence[str]) -> None:
        """Forget endings that the stream has."""
        await self._database.execute(_SQL["drop_announcements"], list(run_ids))
