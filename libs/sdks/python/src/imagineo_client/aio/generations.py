"""Generations by their id, and lists of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from typing_extensions import Unpack

from imagineo_client.aio.drawing import Drawing
from imagineo_client.aio.runs import AsyncRun
from imagineo_client.calls import Call, Listing, Page
from imagineo_client.types.answers import Generation, Generations, Manifest
from imagineo_client.types.requests import ReplayOptions


class GenerationsOfAccount:
    """`client.generations`."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._transport = drawing.transport

    async def get(self, run_id: str) -> Generation:
        """Read one, with a fresh link to its picture."""
        return await self._transport.answer(Call("GET", f"/v1/generations/{run_id}", Generation))

    async def cancel(self, run_id: str) -> Generation:
        """Tell one to stop. Idempotent."""
        return await self._drawing.handle(run_id).cancel()

    async def delete(self, run_id: str) -> None:
        """Erase one for good, its picture included."""
        await self._drawing.handle(run_id).delete()

    async def manifest(self, run_id: str) -> Manifest:
        """How a completed one came about."""
        return await self._transport.answer(Call("GET", f"/v1/generations/{run_id}/manifest", Manifest))

    async def replay(self, run_id: str, **options: Unpack[ReplayOptions]) -> AsyncRun:
        """Draw a completed one again; the new run's `replay` says whether the pictures are the same."""
        return await self._drawing.replay(run_id, **options)

    async def list(
        self,
        *,
        limit: int = 20,
        cursor: str | None = None,
        status: str | Sequence[str] | None = None,
        model: str | None = None,
        batch_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Page[Generation]:
        """One page, newest first."""
        listing = _listing(status, model, batch_id, created_after, created_before)
        return await self._transport.page(listing, limit, cursor)

    def iterate(
        self,
        *,
        status: str | Sequence[str] | None = None,
        model: str | None = None,
        batch_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Generation]:
        """All of them, newest first, page by page as they are taken."""
        return self._transport.items(_listing(status, model, batch_id, created_after, created_before), page_size)


def _listing(
    status: str | Sequence[str] | None,
    model: str | None,
    batch_id: str | None,
    created_after: datetime | None,
    created_before: datetime | None,
) -> Listing[Generation]:
    query = {
        "status": status,
        "model": model,
        "batch_id": batch_id,
        "created_after": created_after,
        "created_before": created_before,
    }
    return Listing("/v1/generations", Generations, lambda answer: answer.generations, query)
