"""Reads runs: some by id, a page of an organization's, the queues as they stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imagineo.jobs.estimate import Queue
from imagineo.postgres.pool import Database

from services.status.repository import queries

_SQL = queries("listing")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs of an organization a page shows; None: all."""

    statuses: Sequence[int] | None = None
    model_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    batch_id: str = ""


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One lane of one base model, for the metrics."""

    base_model_slug: str
    lane: int
    waiting_count: int
    oldest_age_s: float


@dataclass(frozen=True, slots=True)
class Landmark:
    """A queued run and what waits before it in its lane."""

    run_id: str = ""
    before_count: int = 0
    before_work: float = 0.0


Lane = tuple[str, int]
"""Base model slug and lane."""


@dataclass(frozen=True, slots=True)
class OutboxSizes:
    """Runs not known to be published and endings not announced, with the age of the oldest; runs held in batches."""

    unpublished: int = 0
    unpublished_age_s: float = 0.0
    unannounced: int = 0
    unannounced_age_s: float = 0.0
    held: int = 0


class Listing:
    """Reads; every call is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(self, run_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Rows of runs by id, with submission; unknown ones are left out."""
        return {row["run_id"]: row for row in await self._database.fetch(_SQL["get_runs"], list(run_ids))}

    async def count_before(self, queued: Sequence[tuple[str, Lane, Landmark]]) -> dict[str, Landmark]:
        """What waits before each queued run, counted from a landmark at or before it."""
        columns = [
            list(column) for column in zip(*((run, *lane, mark.run_id) for run, lane, mark in queued), strict=True)
        ]
        marks = {run_id: mark for run_id, _, mark in queued}
        return {
            row["run_id"]: Landmark(
                row["run_id"],
                marks[row["run_id"]].before_count + row["before_count"],
                marks[row["run_id"]].before_work + row["before_work"],
            )
            for row in await self._database.fetch(_SQL["count_before"], *columns)
        }

    async def landmarks(self) -> dict[Lane, list[Landmark]]:
        """Landmarks of each long lane, in the order of their ids."""
        found: dict[Lane, list[Landmark]] = defaultdict(list)
        for row in await self._database.fetch(_SQL["landmarks"]):
            mark = Landmark(row["run_id"], row["before_count"], row["before_work"])
            found[row["base_model_slug"], row["lane"]].append(mark)
        return found

    async def page(self, organization_id: str, before: str, filters: Filters, limit: int) -> list[str]:
        """Ids of an organization's runs, newest first, older than `before` (a run_id, or the largest text)."""
        batch = [filters.batch_id] if filters.batch_id else []
        rows = await self._database.fetch(
            _SQL["list_batch_run_ids" if batch else "list_run_ids"],
            organization_id,
            before,
            list(filters.statuses) if filters.statuses else None,
            filters.model_id,
            filters.created_after,
            filters.created_before,
            limit,
            *batch,
        )
        return [row["run_id"] for row in rows]

    async def statuses(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Where runs stand; unknown ones are left out."""
        rows = await self._database.fetch(_SQL["get_statuses"], list(run_ids))
        return {row["run_id"]: row["status"] for row in rows}

    async def count_unfinished(self, organization_id: str) -> int:
        """How many of an organization's runs are not terminal."""
        return int(await self._database.fetchval(_SQL["count_unfinished"], organization_id) or 0)

    async def queues(self) -> tuple[dict[str, Queue], list[QueueLine]]:
        """All that waits and runs, by base model."""
        counts: dict[str, dict[Any, int]] = defaultdict(dict)
        works: dict[str, dict[Any, float]] = defaultdict(dict)
        running: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
        lines = []
        for row in await self._database.fetch(_SQL["queues"]):
            slug, lane = row["base_model_slug"], row["lane"]
            counts[slug][lane] = row["waiting_count"]
            works[slug][lane] = row["waiting_work"]
            work, count = running[slug]
            running[slug] = (work + row["running_work"], count + row["running_count"])
            lines.append(QueueLine(slug, lane, row["waiting_count"], row["age_s"]))
        return {slug: Queue(counts[slug], works[slug], *running[slug]) for slug in counts}, lines

    async def outbox_sizes(self) -> OutboxSizes:
        """What waits in the outboxes, and in batches."""
        row = await self._database.fetchrow(_SQL["outbox_sizes"])
        return OutboxSizes(**row) if row else OutboxSizes()

    async def check_schema(self) -> None:
        """Return if the database answers and has the tables."""
        await self._database.execute("SELECT 1 FROM status.generations LIMIT 1")
