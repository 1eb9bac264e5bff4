"""Erases what owners deleted: cancels it, waits until its ending is announced, deletes the image, then the rows.

Every step may be made again: what a crash interrupts is found at the next pass by the mark on the row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from imagineo.blobs.port import Blobs
from imagineo.errors import ImagineoError
from imagineo.jobs.states import TERMINAL, Cancellation

from services.status.repository.deletion import Deletion
from services.status.repository.runs import Word
from services.status.transitions import Transitions

log = logging.getLogger(__name__)

#: How often it looks for deletions of other replicas and of its own past.
PASS_S = 2.0
_BATCH = 200


class Eraser:
    """Marks runs as deleted at once, and erases them behind the caller's back."""

    def __init__(self, deletion: Deletion, transitions: Transitions, blobs: Blobs) -> None:
        self._deletion, self._transitions, self._blobs = deletion, transitions, blobs
        self._news = asyncio.Event()

    async def delete(self, organization_id: str, run_id: str) -> bool:
        """Hide a run from all who read and stop it; False if it is not there.

        Raises:
            Unavailable: if the database is away; it is not known then whether the run is hidden.
        """
        if "\0" in organization_id + run_id or not await self._deletion.mark(organization_id, [run_id]):
            return False
        with contextlib.suppress(ImagineoError):  # the mark is what counts: the next pass stops it
            await self._transitions.apply(Word(run_id, Cancellation()))
        self._news.set()
        return True

    async def run(self) -> None:
        """Erase, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PASS_S):
                    await self._news.wait()
            self._news.clear()
            try:
                await self.erase()
            except (ImagineoError, ValueError) as problem:
                log.warning("the eraser waits: %s", problem)

    async def erase(self) -> None:
        """Go once over what is marked."""
        marked = await self._deletion.marked(_BATCH)
        alive = [row["run_id"] for row in marked if row["status"] not in TERMINAL]
        await asyncio.gather(*(self._transitions.apply(Word(run_id, Cancellation())) for run_id in alive))
        over = [row for row in marked if row["status"] in TERMINAL and not row["is_unannounced"]]
        for row in over:
            for key in await self._blobs.list(f"images/{row['organization_id']}/{row['run_id']}"):
                await self._blobs.delete(key)
        if over:
            await self._deletion.erase([row["run_id"] for row in over])
