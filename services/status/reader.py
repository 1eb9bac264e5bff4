"""Reads Generations: rows, and for queued ones their place. Concurrent reads share a statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagineo import errors
from imagineo.rpc.coalesce import Coalescer
from imagineo.v1 import event_pb2, generation_pb2

from services.status.generations import Generation, generation_of
from services.status.queues import Queues
from services.status.repository.listing import Landmark, Lane, Listing

_NOTHING = Landmark()


class Reader:
    """Reads Generations; concurrent reads share a statement."""

    def __init__(self, listing: Listing, queues: Queues) -> None:
        self._listing, self._queues = listing, queues
        self._one: Coalescer[str, Generation | None] = Coalescer(self._flush)

    async def many(self, run_ids: list[str]) -> dict[str, Generation]:
        """Runs by id; unknown and deleted ones are left out."""
        rows = await self._listing.rows(run_ids)
        return await self._shown({run_id: row for run_id, row in rows.items() if row["deleted_at"] is None})

    async def even_deleted(self, run_ids: list[str]) -> dict[str, Generation]:
        """Runs by id, deleted ones too, for those who settle by them."""
        return await self._shown(await self._listing.rows(run_ids))

    async def provenance(self, run_id: str) -> generation_pb2.Provenance:
        """How a completed run's picture came about; empty where its worker did not say."""
        row = (await self._listing.rows([run_id])).get(run_id)
        outcome = row["outcome"] if row else None
        return event_pb2.Outcome.FromString(outcome or b"").provenance

    async def _shown(self, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Generation]:
        queued = [self._queued(row) for row in rows.values() if _is_in_a_queue(row)]
        before = await self._listing.count_before(queued) if queued else {}
        return {run_id: generation_of(row, before.get(run_id, _NOTHING), self._queues) for run_id, row in rows.items()}

    async def find(self, run_id: str) -> Generation | None:
        """One run, whoever owns it; None if it is absent or deleted."""
        return None if "\0" in run_id else await self._one.submit(run_id)

    async def one(self, organization_id: str, run_id: str) -> Generation:
        """One run.

        Raises:
            NotFound: if it is absent, or not the organization's (where one is given).
        """
        found = await self.find(run_id)
        if found is None or (organization_id and organization_id != found.organization_id):
            raise absent(run_id)
        return found

    async def _flush(self, run_ids: list[str]) -> Sequence[Generation | None]:
        found = await self.many(list(set(run_ids)))
        return [found.get(run_id) for run_id in run_ids]

    def _queued(self, row: Mapping[str, Any]) -> tuple[str, Lane, Landmark]:
        lane = (row["base_model_slug"], row["lane"])
        return row["run_id"], lane, self._queues.landmark(lane, row["run_id"])


def _is_in_a_queue(row: Mapping[str, Any]) -> bool:
    return row["status"] == generation_pb2.STATUS_QUEUED and row["held_before"] is None


def absent(run_id: str) -> errors.NotFound:
    """Say that there is no such run."""
    return errors.NotFound("There is no such run.", metadata={"run_id": run_id})
