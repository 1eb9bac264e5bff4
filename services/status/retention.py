"""Forgets: runs that ended long ago with their images, expired idempotency keys, images of attempts that lost."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from imagineo.blobs.port import Blobs
from imagineo.errors import ImagineoError
from imagineo.ids import Prefix
from imagineo.jobs.states import TERMINAL
from imagineo.v1 import event_pb2, generation_pb2

from services.status.repository.expiry import Expiry

log = logging.getLogger(__name__)

PASS_S = 60.0
_BATCH = 200
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Retention:
    """Deletes images first, then rows: what a crash interrupts is done again."""

    def __init__(self, expiry: Expiry, blobs: Blobs, retention_days: int) -> None:
        self._expiry, self._blobs = expiry, blobs
        self._keep = timedelta(days=retention_days)

    async def run(self) -> None:
        """Forget, for ever."""
        while True:
            try:
                await self.forget(datetime.now(UTC))
                await self.clear_leftovers()
                await self._expiry.delete_keys()
            except (ImagineoError, ValueError) as problem:
                log.warning("retention waits: %s", problem)
            await asyncio.sleep(PASS_S)

    async def forget(self, now: datetime) -> int:
        """Delete all that ended before the retention; gives how many runs."""
        cutoff, after, count = now - self._keep, "", 0
        while batch := await self._expiry.old_runs(after, first_id_at(cutoff), cutoff, _BATCH):
            for run_id, organization_id in batch:
                await self._clear(organization_id, run_id, keep="")
            await self._expiry.delete_runs([run_id for run_id, _ in batch])
            after, count = batch[-1][0], count + len(batch)
        await self._expiry.delete_batches(first_id_at(cutoff, "batch"))
        return count

    async def clear_leftovers(self) -> int:
        """Delete images of attempts that lost; gives how many runs were looked at."""
        count = 0
        while rows := await self._expiry.take_leftovers(_BATCH):
            over = [row for row in rows if row["status"] is None or row["status"] in TERMINAL]
            for row in over:
                await self._clear(row["organization_id"], row["run_id"], keep=_image_key(row["status"], row["outcome"]))
            await self._expiry.drop_leftovers([row["run_id"] for row in over])
            count += len(rows)
        return count

    async def _clear(self, organization_id: str, run_id: str, *, keep: str) -> None:
        for key in await self._blobs.list(f"images/{organization_id}/{run_id}"):
            if key != keep:
                await self._blobs.delete(key)


def first_id_at(moment: datetime, prefix: Prefix = "gen") -> str:
    """The smallest id that can be made at a moment: ids begin with 48 bits of Unix milliseconds."""
    number = int(moment.timestamp() * 1000) << 80
    return f"{prefix}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def _image_key(status: int | None, outcome: bytes | None) -> str:
    if status != generation_pb2.STATUS_COMPLETED or outcome is None:
        return ""
    return event_pb2.Outcome.FromString(outcome).image.store_key
