"""What a batch is: whether it can be stored, where it stands by its items, and its face to those who read. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from imagineo import errors
from imagineo.ids import is_id
from imagineo.jobs.estimate import DEFAULT_SPEED, MAX_ESTIMATE_S, Pace, Queue
from imagineo.v1 import batch_pb2, batch_service_pb2, generation_pb2
from imagineo.wire.times import timestamp

from services.status.admission import check

MAX_ITEMS: Final = 1000
MAX_PROBLEMS: Final = 10

Status: TypeAlias = "batch_pb2.BatchStatus.ValueType"


@dataclass(frozen=True, slots=True)
class Load:
    """What one base model has to do before a batch is done, and how fast it is."""

    queue: Queue
    paces: Sequence[Pace]
    owners_count: int
    """How many organizations' batches share it."""


def check_batch(request: batch_service_pb2.CreateBatchRequest, now: datetime) -> None:
    """Refuse what cannot be stored.

    Raises:
        InvalidParameter: naming the field.
        Unavailable: if it comes so late that nobody waits for it any more.
    """
    if not is_id(request.batch_id, "batch"):
        raise errors.InvalidParameter.of("batch_id", "an id of the form batch_…")
    if not 1 <= len(request.submissions) <= MAX_ITEMS:
        raise errors.InvalidParameter.of("submissions", f"1 to {MAX_ITEMS} items")
    for name in ("name", "key_id", "idempotency_key"):
        text = getattr(request, name)
        if "\0" in text or len(text) > 255:
            raise errors.InvalidParameter.of(name, "at most 255 characters without NUL")
    for submission in request.submissions:
        if submission.job.organization_id != request.organization_id:
            raise errors.InvalidParameter.of("submissions", "runs of the batch's organization")
        check(submission, now)


def status_of(counts: batch_pb2.BatchCounts, *, is_cancel_asked: bool) -> Status:
    """Where a batch stands."""
    if counts.queued or counts.running or counts.canceling:
        return batch_pb2.BATCH_STATUS_CANCELING if is_cancel_asked else batch_pb2.BATCH_STATUS_RUNNING
    if counts.canceled and (is_cancel_asked or counts.canceled + counts.deleted == counts.total):
        return batch_pb2.BATCH_STATUS_CANCELED
    if not counts.completed and (counts.failed or counts.expired):
        return batch_pb2.BATCH_STATUS_FAILED
    return batch_pb2.BATCH_STATUS_COMPLETED


def batch_of(row: Mapping[str, Any], problems: Sequence[Mapping[str, Any]], estimated_time_s: int) -> batch_pb2.Batch:
    """Build the message of a batch's row with its items counted."""
    names = ("queued", "running", "canceling", "completed", "failed", "canceled", "expired")
    counts = batch_pb2.BatchCounts(total=row["items_count"], **{name: row[name] for name in names})
    counts.deleted = counts.total - sum(getattr(counts, name) for name in names)
    status = status_of(counts, is_cancel_asked=row["cancel_asked_at"] is not None)
    is_over = status not in (batch_pb2.BATCH_STATUS_RUNNING, batch_pb2.BATCH_STATUS_CANCELING)
    unfinished = counts.queued + counts.running + counts.canceling
    done = 100 * (counts.total - unfinished) + row["unfinished_progress"]
    return batch_pb2.Batch(
        batch_id=row["batch_id"],
        organization_id=row["organization_id"],
        key_id=row["key_id"],
        name=row["name"],
        metadata=json.loads(row["metadata"]),
        status=status,
        counts=counts,
        progress=100 if is_over else min(99, done // counts.total),
        estimated_time_s=0 if is_over else estimated_time_s,
        created_at=timestamp(row["created_at"]),
        started_at=timestamp(row["started_at"]),
        finished_at=timestamp(row["finished_at"]) if is_over else None,
        problems=[_problem(problem) for problem in problems],
    )


def left_s(work: Mapping[str, float], loads: Mapping[str, Load]) -> int:
    """Whole seconds until a batch should be done that has so many megapixel-steps left on each base model.

    What others have in the queues comes first, and the batches of other organizations take turns with it.
    """
    return max((_left_s(own, loads[slug]) for slug, own in work.items()), default=1)


def _left_s(own_work: float, load: Load) -> int:
    known = [pace.known_total for pace in load.paces] or [DEFAULT_SPEED]
    before = sum(load.queue.waiting_work.values()) + load.queue.running_work
    seconds = (before + own_work * max(1, load.owners_count)) / sum(known)
    return max(1, min(MAX_ESTIMATE_S, math.ceil(seconds))) if math.isfinite(seconds) else MAX_ESTIMATE_S


def _problem(row: Mapping[str, Any]) -> batch_pb2.BatchProblem:
    error = generation_pb2.RunError(code=row["error_code"], message=row["error_message"])
    return batch_pb2.BatchProblem(index=row["item_index"], run_id=row["run_id"], error=error)
