"""Stores batches: all rows of all items in one transaction, and where they stand, counted from the rows."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from imagineo import errors
from imagineo.jobs.estimate import work_of
from imagineo.postgres.pool import Database
from imagineo.v1 import batch_service_pb2 as pb
from imagineo.v1 import generation_service_pb2
from imagineo.wire.times import moment, timestamp

from services.status.admission import Earlier, replay
from services.status.batches import MAX_PROBLEMS
from services.status.repository import queries, refused_data

_SQL = queries("batches")
_ACCEPTANCE = queries("submissions")

#: A thousand items are some megabytes of rows: such a transaction gets more time than others.
CREATE_TIMEOUT_S: Final = 6.0
#: Rows made between two turns of the event loop.
_TURN: Final = 50


class Batches:
    """Reads and writes batches. A creation locks its organization's counter, as every acceptance does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, request: pb.CreateBatchRequest, estimates_s: Sequence[int], estimated_time_s: int
    ) -> pb.BatchAcceptance:
        """Make a batch and its items durable, whole or not at all; or answer what its key or id was answered before.

        Raises:
            IdempotencyKeyReused: if the key came with another body.
            AlreadyExists: if the id is somebody else's.
            Unavailable: the commit may or may not have happened; the same batch may be sent again.
            InvalidParameter: it holds what the database cannot hold.
        """
        columns = await _columns(request, estimates_s)
        with refused_data():
            async with self._database.transaction(CREATE_TIMEOUT_S) as connection:
                owner = [request.organization_id]
                await connection.execute(_ACCEPTANCE["open_counters"], owner)
                await connection.fetch(_ACCEPTANCE["lock_counters"], owner)
                earlier = await self._earlier(connection, request)
                if earlier is not None:
                    return earlier
                return await self._store(connection, request, columns, estimated_time_s)

    async def find(self, organization_id: str, key: str, body_sha256: bytes) -> pb.BatchAcceptance | None:
        """What a key was answered; None if it is new.

        Raises:
            IdempotencyKeyReused: if it came with another body.
        """
        with refused_data():
            async with self._database.connection() as connection:
                return await self._replayed(connection, organization_id, key, body_sha256)

    async def rows(self, batch_ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Batches by id with their items counted, newest first; unknown ones are left out."""
        return list(await self._database.fetch(_SQL["read_batches"], list(batch_ids)))

    async def problems(self, batch_ids: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
        """The first items of each batch that failed."""
        found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in await self._database.fetch(_SQL["problems"], list(batch_ids), MAX_PROBLEMS):
            found[row["batch_id"]].append(row)
        return found

    async def work_left(self, batch_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Megapixel-steps that are left of each batch, by base model."""
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for row in await self._database.fetch(_SQL["work_left"], list(batch_ids)):
            found[row["batch_id"]][row["base_model_slug"]] = row["work"]
        return found

    async def page(self, organization_id: str, before: str, limit: int) -> list[str]:
        """Ids of an organization's batches, newest first, older than `before` (a batch_id, or the largest text)."""
        rows = await self._database.fetch(_SQL["list_batch_ids"], organization_id, before, limit)
        return [row["batch_id"] for row in rows]

    async def owner(self, batch_id: str) -> str | None:
        """Whose a batch is; None if there is none."""
        found: str | None = await self._database.fetchval(_SQL["owner"], batch_id)
        return found

    async def items(self, batch_id: str, first_index: int, limit: int) -> list[tuple[int, str]]:
        """Index and run of some items, in order."""
        rows = await self._database.fetch(_SQL["list_items"], batch_id, first_index, limit)
        return [(row["item_index"], row["run_id"]) for row in rows]

    async def ask_cancel(self, batch_id: str) -> None:
        """Note durably that a batch is to stop; one that is over stays as it is."""
        await self._database.execute(_SQL["ask_cancel"], batch_id)

    async def left_to_cancel(self, limit: int) -> list[str]:
        """Runs of batches that are to stop which were not told yet."""
        return [row["run_id"] for row in await self._database.fetch(_SQL["left_to_cancel"], limit)]

    async def end_cancels(self) -> None:
        """Note which batches have nothing left to be told."""
        await self._database.execute(_SQL["end_cancels"])

    async def _earlier(self, connection: Any, request: pb.CreateBatchRequest) -> pb.BatchAcceptance | None:
        known = await connection.fetchrow(_SQL["known_batch"], request.batch_id)
        if known is not None:
            if known["organization_id"] != request.organization_id:
                raise errors.AlreadyExists("There is a batch with this batch_id already.")
            return _acceptance(known)
        key = request.idempotency_key
        if not key:
            return None
        return await self._replayed(connection, request.organization_id, key, request.body_sha256)

    async def _replayed(
        self, connection: Any, organization_id: str, key: str, body_sha256: bytes
    ) -> pb.BatchAcceptance | None:
        row = await connection.fetchrow(_ACCEPTANCE["earlier_keys"], [organization_id], [key])
        if row is None:
            return None
        first = Earlier(row["run_id"], row["body_sha256"], row["seed"], row["estimated_time_s"])
        answer = replay(first, body_sha256)
        if isinstance(answer, errors.ImagineoError):
            raise answer
        known = await connection.fetchrow(_SQL["known_batch"], first.run_id)
        if known is None:  # a run's key, or the batch is gone already
            raise errors.IdempotencyKeyReused
        return _acceptance(known, replayed=True)

    async def _store(
        self, connection: Any, request: pb.CreateBatchRequest, columns: list[list[Any]], estimated_time_s: int
    ) -> pb.BatchAcceptance:
        metadata, count = json.dumps(dict(request.metadata)), len(request.submissions)
        head = (request.batch_id, request.organization_id, request.key_id, request.name, metadata)
        row = await connection.fetchrow(_SQL["insert_batch"], *head, count, estimated_time_s)
        owner = (request.batch_id, request.organization_id, request.queued_runs_limit)
        await connection.execute(_SQL["insert_items"], *owner, *columns, timeout=CREATE_TIMEOUT_S)
        if request.idempotency_key:
            first = (request.batch_id, request.body_sha256, 0, estimated_time_s)
            key = (request.organization_id, request.idempotency_key, *first)
            await connection.execute(_ACCEPTANCE["insert_keys"], *([value] for value in key))
        return _acceptance(row)


def _acceptance(row: Mapping[str, Any], *, replayed: bool = False) -> pb.BatchAcceptance:
    return pb.BatchAcceptance(
        batch_id=row["batch_id"],
        replayed=replayed,
        total=row["items_count"],
        estimated_time_s=row["accepted_estimate_s"],
        created_at=timestamp(row["created_at"]),
    )


async def _columns(request: pb.CreateBatchRequest, estimates_s: Sequence[int]) -> list[list[Any]]:
    rows = []
    for index, (submission, estimate_s) in enumerate(zip(request.submissions, estimates_s, strict=True)):
        if index % _TURN == 0:
            await asyncio.sleep(0)
        rows.append(_row(index, submission, estimate_s))
    return [list(column) for column in zip(*rows, strict=True)]


def _row(index: int, submission: generation_service_pb2.Submission, estimate_s: int) -> tuple[Any, ...]:
    job = submission.job
    return (
        index,
        job.run_id,
        job.parameters.model_id,
        job.base_model_slug,
        job.lane,
        work_of(job.parameters),
        moment(job.deadline) if job.HasField("deadline") else None,
        estimate_s,
        submission.key_id,
        job.parameters.seed,
        job.SerializeToString(),
        json.dumps(dict(submission.metadata)),
        submission.webhook_url,
    )
