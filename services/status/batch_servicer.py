"""Translates BatchService: messages in, domain calls, messages out. Names and comments are the protocol's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from imagineo import errors, page_token
from imagineo.jobs.estimate import work_of
from imagineo.v1 import batch_pb2
from imagineo.v1 import batch_service_pb2 as pb
from imagineo.v1 import batch_service_pb2_grpc as grpc

from services.status.batches import Load, batch_of, check_batch, left_s
from services.status.feeder import Feeder
from services.status.metrics import StatusMetrics
from services.status.queues import Queues
from services.status.reader import Reader
from services.status.repository.batches import Batches
from services.status.transitions import Transitions

_LAST_ID: Final = "batch_~"
_MAX_PAGE: Final = 100
#: How long a cancel waits for the items to be told; the feeder tells the rest.
_CANCEL_WAIT_S: Final = 1.2


class BatchServicer(grpc.BatchServiceServicer):
    """Answers the RPCs."""

    def __init__(
        self,
        batches: Batches,
        reader: Reader,
        transitions: Transitions,
        queues: Queues,
        feeder: Feeder,
        metrics: StatusMetrics | None,
    ) -> None:
        self._batches, self._reader, self._transitions = batches, reader, transitions
        self._queues, self._feeder, self._metrics = queues, feeder, metrics
        self._stopping: set[asyncio.Task[None]] = set()

    async def CreateBatch(self, request: pb.CreateBatchRequest, context: Any) -> pb.CreateBatchResponse:  # noqa: N802, ARG002
        """Make a batch durable."""
        check_batch(request, datetime.now(UTC))
        estimates_s = self._estimates_s(request)
        acceptance = await self._batches.create(request, estimates_s, max(estimates_s))
        if acceptance.batch_id == request.batch_id and not acceptance.replayed:
            self._feeder.begin()
            if self._metrics:
                self._metrics.accepted.inc(len(request.submissions))
        return pb.CreateBatchResponse(acceptance=acceptance)

    async def FindBatch(self, request: pb.FindBatchRequest, context: Any) -> pb.FindBatchResponse:  # noqa: N802, ARG002
        """Answer a key again without its batch."""
        names = (request.organization_id, request.idempotency_key)
        found = None if "\0" in "".join(names) else await self._batches.find(*names, request.body_sha256)
        if found is None:
            raise errors.NotFound("The idempotency key was not used before.")
        return pb.FindBatchResponse(acceptance=found)

    async def GetBatch(self, request: pb.GetBatchRequest, context: Any) -> pb.GetBatchResponse:  # noqa: N802, ARG002
        """Read one batch."""
        return pb.GetBatchResponse(batch=await self._one(request.organization_id, request.batch_id))

    async def ListBatches(self, request: pb.ListBatchesRequest, context: Any) -> pb.ListBatchesResponse:  # noqa: N802, ARG002
        """List a page."""
        size, organization_id = _size(request.page_size, 20), request.organization_id
        if "\0" in organization_id:
            return pb.ListBatchesResponse()
        before = page_token.decode(organization_id, request.page_token, "batch") if request.page_token else _LAST_ID
        batch_ids = await self._batches.page(organization_id, before, size + 1)
        more = page_token.encode(organization_id, batch_ids[size - 1]) if len(batch_ids) > size else ""
        batches = await self._shown(await self._batches.rows(batch_ids[:size])) if batch_ids else []
        return pb.ListBatchesResponse(batches=batches, next_page_token=more)

    async def ListBatchItems(  # noqa: N802
        self,
        request: pb.ListBatchItemsRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.ListBatchItemsResponse:
        """List some items."""
        await self._check_owner(request.organization_id, request.batch_id)
        size = _size(request.page_size, _MAX_PAGE)
        items = await self._batches.items(request.batch_id, max(0, request.first_index), size)
        found = await self._reader.many([run_id for _, run_id in items])
        shown = [batch_pb2.BatchItem(index=index, run_id=run, generation=found.get(run)) for index, run in items]
        return pb.ListBatchItemsResponse(items=shown)

    async def CancelBatch(self, request: pb.CancelBatchRequest, context: Any) -> pb.CancelBatchResponse:  # noqa: N802, ARG002
        """Stop a batch: noted durably first, then told to its items, here or by whichever feeder comes first."""
        await self._check_owner(request.organization_id, request.batch_id)
        await self._batches.ask_cancel(request.batch_id)
        telling = asyncio.create_task(self._feeder.stop_canceled(self._transitions))
        self._stopping.add(telling)
        telling.add_done_callback(self._stopped)
        await asyncio.wait({telling}, timeout=_CANCEL_WAIT_S)
        return pb.CancelBatchResponse(batch=await self._one(request.organization_id, request.batch_id))

    def _stopped(self, telling: asyncio.Task[None]) -> None:
        self._stopping.discard(telling)
        if not telling.cancelled() and telling.exception() is not None:
            self._feeder.begin()  # it tells the rest

    def _estimates_s(self, request: pb.CreateBatchRequest) -> list[int]:
        """How long each item should take from now, if the items follow one another."""
        before: dict[str, float] = {}
        loads: dict[str, Load] = {}
        estimates_s = []
        for submission in request.submissions:
            slug = submission.job.base_model_slug
            if slug not in loads:
                # This batch is one more that takes turns, unless its organization's are the only ones.
                loads[slug] = self._load(slug)
            before[slug] = before.get(slug, 0.0) + work_of(submission.job.parameters)
            estimates_s.append(left_s({slug: before[slug]}, loads))
        return estimates_s

    def _load(self, slug: str) -> Load:
        return Load(self._queues.of(slug), self._queues.paces(slug), self._feeder.owners_count(slug))

    async def _check_owner(self, organization_id: str, batch_id: str) -> None:
        owner = None if "\0" in batch_id else await self._batches.owner(batch_id)
        if owner is None or owner != organization_id:
            raise _absent(batch_id)

    async def _one(self, organization_id: str, batch_id: str) -> batch_pb2.Batch:
        rows = [] if "\0" in batch_id else await self._batches.rows([batch_id])
        if not rows or rows[0]["organization_id"] != organization_id:
            raise _absent(batch_id)
        [shown] = await self._shown(rows)
        return shown

    async def _shown(self, rows: Sequence[Mapping[str, Any]]) -> list[batch_pb2.Batch]:
        failed = [row["batch_id"] for row in rows if row["failed"]]
        alive = [row["batch_id"] for row in rows if row["queued"] or row["running"] or row["canceling"]]
        problems = await self._batches.problems(failed) if failed else {}
        work = await self._batches.work_left(alive) if alive else {}
        loads = {slug: self._load(slug) for each in work.values() for slug in each}
        return [
            batch_of(row, problems.get(row["batch_id"], ()), left_s(work.get(row["batch_id"], {}), loads))
            for row in rows
        ]


def _size(asked: int, default: int) -> int:
    if not 0 <= asked <= _MAX_PAGE:
        raise errors.InvalidParameter.of("page_size", f"between 1 and {_MAX_PAGE}")
    return asked or default


def _absent(batch_id: str) -> errors.NotFound:
    return errors.NotFound("There is no such batch.", metadata={"batch_id": batch_id})
