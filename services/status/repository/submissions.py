"""Stores accepted runs: counters, idempotency keys, rows and the relay's copy, in one transaction a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from imagineo.jobs.estimate import work_of
from imagineo.postgres.pool import Database
from imagineo.v1 import generation_service_pb2 as pb
from imagineo.wire.times import moment

from services.status.admission import (
    Answer,
    Books,
    Candidate,
    Earlier,
    Key,
    Known,
    admit,
    admit_together,
)
from services.status.repository import queries, refused_data

_SQL = queries("submissions")


class Submissions:
    """Accepts batches. Organization counters are locked in key order before anything is read or written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, candidates: Sequence[Candidate]) -> tuple[list[Answer], list[Candidate]]:
        """Decide a batch and make what is admitted durable, whole or not at all.

        Raises:
            Unavailable: the commit may or may not have happened; the same batch may be sent again.
            InvalidParameter: a candidate holds what the database cannot hold.
        """
        organizations = sorted({candidate.organization_id for candidate in candidates})
        with refused_data():
            return await self._accept(organizations, candidates)

    async def accept_together(self, candidates: Sequence[Candidate]) -> tuple[list[pb.Acceptance], list[Candidate]]:
        """Make candidates of one organization durable, all or none; gives what was new too.

        Raises:
            Refused, Unavailable: as `admit_together`, and as `accept`.
        """
        with refused_data():
            async with self._database.transaction() as connection:
                books = await self._open_books(connection, [candidates[0].organization_id], candidates)
                answers, admitted = admit_together(candidates, books)
                if admitted:
                    await self._store(connection, admitted)
        return answers, admitted

    async def find(self, key: Key) -> Earlier | None:
        """What a key answered when it was first used; None if it is new or expired."""
        organization_id, idempotency_key = key
        with refused_data():
            row = await self._database.fetchrow(_SQL["earlier_keys"], [organization_id], [idempotency_key])
        return _earlier(row) if row else None

    async def _accept(
        self, organizations: list[str], candidates: Sequence[Candidate]
    ) -> tuple[list[Answer], list[Candidate]]:
        async with self._database.transaction() as connection:
            books = await self._open_books(connection, organizations, candidates)
            answers, admitted = admit(candidates, books)
            if admitted:
                await self._store(connection, admitted)
        return answers, admitted

    async def _open_books(self, connection: Any, organizations: list[str], candidates: Sequence[Candidate]) -> Books:
        rows = await connection.fetch(_SQL["lock_counters"], organizations)
        if len(rows) < len(organizations):
            await connection.execute(_SQL["open_counters"], organizations)
            rows = await connection.fetch(_SQL["lock_counters"], organizations)
        keys = sorted({candidate.key for candidate in candidates if candidate.key})
        earlier = {}
        if keys:
            columns = [list(column) for column in zip(*keys, strict=True)]
            for row in await connection.fetch(_SQL["earlier_keys"], *columns):
                earlier[(row["organization_id"], row["key"])] = _earlier(row)
        known = {
            row["run_id"]: Known(row["organization_id"], row["seed"], row["accepted_estimate_s"])
            for row in await connection.fetch(_SQL["known_runs"], [candidate.run_id for candidate in candidates])
        }
        return Books({row["organization_id"]: row["unfinished"] for row in rows}, earlier, known)

    async def _store(self, connection: Any, admitted: Sequence[Candidate]) -> None:
        await connection.execute(_SQL["insert_runs"], *_columns([_row(candidate) for candidate in admitted]))
        keyed = [_key_row(candidate) for candidate in admitted if candidate.key]
        if keyed:
            await connection.execute(_SQL["insert_keys"], *_columns(keyed))


def _earlier(row: Any) -> Earlier:
    return Earlier(row["run_id"], row["body_sha256"], row["seed"], row["estimated_time_s"])


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _row(candidate: Candidate) -> tuple[Any, ...]:
    submission, job = candidate.submission, candidate.submission.job
    return (
        job.run_id,
        job.organization_id,
        job.parameters.model_id,
        job.base_model_slug,
        job.lane,
        work_of(job.parameters),
        moment(job.deadline) if job.HasField("deadline") else None,
        candidate.estimated_time_s,
        submission.key_id,
        job.parameters.seed,
        job.SerializeToString(),
        json.dumps(dict(submission.metadata)),
        submission.webhook_url,
    )


def _key_row(candidate: Candidate) -> tuple[Any, ...]:
    submission, job = candidate.submission, candidate.submission.job
    return (
        job.organization_id,
        submission.idempotency_key,
        job.run_id,
        submission.body_sha256,
        job.parameters.seed,
        candidate.estimated_time_s,
    )
