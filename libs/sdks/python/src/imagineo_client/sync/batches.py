"""Batches: up to 1,000 pictures in one request, and their results as they finish."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from imagineo_client.batching import IN_PROGRESS, LineReader, body_of, over_count, pause_s
from imagineo_client.calls import Call, Listing, Page, submit
from imagineo_client.errors import ImagineoError, WaitTimeoutError
from imagineo_client.events import SILENCE_S
from imagineo_client.files import File, check_writable, written_whole
from imagineo_client.pictures import Picture
from imagineo_client.sync.drawing import Drawing
from imagineo_client.types.answers import Batch, Batches, BatchResult, BatchSubmitted
from imagineo_client.types.requests import BatchItem, BatchSweep
from imagineo_client.waiting import sleep

_BATCHES: Listing[Batch] = Listing("/v1/batches", Batches, lambda answer: answer.batches)


class BatchRun:
    """The handle of one batch. `batch` is the newest state that was seen; None before one was."""

    def __init__(self, drawing: Drawing, batch_id: str) -> None:
        self.id = batch_id
        self.batch: Batch | None = None
        self._transport = drawing.transport

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{' ' + self.batch.status if self.batch else ''}>"

    def refresh(self) -> Batch:
        """Ask how it stands."""
        self.batch = self._transport.answer(Call("GET", self._path, Batch))
        return self.batch

    def cancel(self) -> Batch:
        """Stop what is not over. Idempotent."""
        self.batch = self._transport.answer(Call("POST", f"{self._path}/cancel", Batch))
        return self.batch

    def wait(self, *, timeout_s: float | None = None, cancel_on_timeout: bool = True) -> Batch:
        """Wait until every item is over; items may have failed all the same.

        Raises:
            WaitTimeoutError: if it is not over in time; it is canceled, unless told otherwise.
        """
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        while (batch := self.refresh()).status in IN_PROGRESS:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                if cancel_on_timeout and (batch := self.cancel()).status == "completed":
                    return batch  # it was faster
                raise WaitTimeoutError(f"{self.id} is not over after {timeout_s} s.", canceled=cancel_on_timeout)
            sleep(min(pause_s(batch), left_s))
        return batch

    def results(self) -> Iterator[BatchResult]:
        """Each item's result, as it is over: completed, failed, canceled, expired or deleted."""
        handed = set[int]()
        while True:
            batch = self.refresh()
            over = over_count(batch)
            if over > len(handed):
                for result in self._results():
                    if result.index not in handed and result.status not in ("queued", "running", "canceling"):
                        handed.add(result.index)
                        yield result
            if batch.status not in IN_PROGRESS:
                return
            sleep(pause_s(batch))

    def archive(self, path: str | os.PathLike[str]) -> Path:
        """Write what is drawn so far as a ZIP file, with `results.jsonl`.

        Raises:
            OSError: if it cannot be written.
        """
        check_writable(path)
        call = Call("GET", f"{self._path}/results", type(None), query={"format": "zip"})
        attempt = 0
        while True:
            problem = self._written(call, path)
            if problem is None:
                return Path(path)
            attempt += 1
            self._transport.pause(attempt, problem, call)

    def contact_sheet(self) -> Picture:
        """Every item small, with its index below, as one PNG."""
        return Picture(self._transport.content(Call("GET", f"{self._path}/contact-sheet.png", type(None))))

    @property
    def _path(self) -> str:
        return f"/v1/batches/{self.id}"

    def _written(self, call: Call[None], path: str | os.PathLike[str]) -> Exception | None:
        """Write what a call answers; gives what went wrong on the way."""
        try:
            with self._transport.stream(call, silence_s=SILENCE_S) as response:
                with written_whole(path) as file:
                    for content in response.iter_bytes():
                        file.write(content)
        except (httpx.RequestError, ImagineoError) as problem:
            return problem
        return None

    def _results(self) -> list[BatchResult]:
        content = self._transport.content(Call("GET", f"{self._path}/results", type(None), query={"format": "jsonl"}))
        return LineReader(BatchResult).lines(content)


class BatchesOfAccount:
    """`client.batches`."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._transport = drawing.transport

    def create(
        self,
        *,
        items: Sequence[BatchItem] | None = None,
        file: File | None = None,
        sweep: BatchSweep | None = None,
        defaults: BatchItem | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        cancel_after_s: int | None = None,
    ) -> BatchRun:
        """Queue up to 1,000 pictures, all or none, from exactly one of a list, a JSON-lines file and a sweep.

        A model that neither an item, nor `defaults`, nor the sweep names is the usual one.
        """
        own = {"name": name, "metadata": metadata, "webhook_url": webhook_url}
        body = body_of(items, file, sweep, defaults, own)
        if body.needs_model:
            body = body.with_model(self._drawing.usual_model())
        call = submit(
            "/v1/batches",
            BatchSubmitted,
            body.content,
            idempotency_key=idempotency_key,
            cancel_after_s=cancel_after_s,
            limit="batch_body_limit_bytes",
        )
        return BatchRun(self._drawing, (self._transport.answer(call)).batch_id)

    def get(self, batch_id: str) -> Batch:
        """Read one."""
        return self._transport.answer(Call("GET", f"/v1/batches/{batch_id}", Batch))

    def cancel(self, batch_id: str) -> Batch:
        """Stop what of one is not over. Idempotent."""
        return BatchRun(self._drawing, batch_id).cancel()

    def list(self, *, limit: int = 20, cursor: str | None = None) -> Page[Batch]:
        """One page, newest first."""
        return self._transport.page(_BATCHES, limit, cursor)

    def iterate(self, *, page_size: int = 100) -> Iterator[Batch]:
        """All of them."""
        return self._transport.items(_BATCHES, page_size)
