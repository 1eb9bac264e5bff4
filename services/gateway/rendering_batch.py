"""Batches and their results as REST shows them. Pure; time is an argument."""

from __future__ import annotations

from typing import Any, Final

from imagineo.v1 import batch_pb2
from imagineo.v1 import batch_service_pb2 as pb
from imagineo.wire.image_urls import UrlSigner

from services.gateway.rendering import generation, moment

STATUS_WORDS: Final[dict[batch_pb2.BatchStatus.ValueType, str]] = {
    batch_pb2.BATCH_STATUS_RUNNING: "running",
    batch_pb2.BATCH_STATUS_CANCELING: "canceling",
    batch_pb2.BATCH_STATUS_COMPLETED: "completed",
    batch_pb2.BATCH_STATUS_FAILED: "failed",
    batch_pb2.BATCH_STATUS_CANCELED: "canceled",
}

COUNTS: Final = (
    "total",
    "queued",
    "running",
    "canceling",
    "completed",
    "failed",
    "canceled",
    "expired",
    "deleted",
)

#: What a line of the results shows of its generation, in this order.
_OF_RUN: Final = ("status", "image_url", "image_url_expires_at", "seed", "model_id", "image", "error", "parameters")


def urls(public_url: str, batch_id: str) -> dict[str, str]:
    """Where a batch is read, stopped and fetched."""
    own = f"{public_url}/v1/batches/{batch_id}"
    return {
        "self": own,
        "cancel": f"{own}/cancel",
        "items": f"{public_url}/v1/generations?batch_id={batch_id}",
        "results": f"{own}/results",
        "archive": f"{own}/results?format=zip",
        "contact_sheet": f"{own}/contact-sheet.png",
    }


def submitted(acceptance: pb.BatchAcceptance, public_url: str) -> dict[str, Any]:
    """The answer to a submit; a replay gives the same bytes."""
    return {
        "batch_id": acceptance.batch_id,
        "status": "running",
        "total": acceptance.total,
        "estimated_time": acceptance.estimated_time_s,
        "created_at": moment(acceptance.created_at),
        "urls": urls(public_url, acceptance.batch_id),
    }


def batch(found: batch_pb2.Batch, public_url: str) -> dict[str, Any]:
    """One batch as it stands."""
    return {
        "batch_id": found.batch_id,
        "name": found.name,
        "status": STATUS_WORDS[found.status],
        "progress": found.progress,
        "items": {name: getattr(found.counts, name) for name in COUNTS},
        "estimated_time": found.estimated_time_s,
        "created_at": moment(found.created_at),
        "started_at": moment(found.started_at) if found.HasField("started_at") else None,
        "finished_at": moment(found.finished_at) if found.HasField("finished_at") else None,
        "errors": [
            {
                "index": problem.index,
                "run_id": problem.run_id,
                "code": problem.error.code,
                "message": problem.error.message,
            }
            for problem in found.problems
        ],
        "metadata": dict(found.metadata),
        "urls": urls(public_url, found.batch_id),
    }


def result(item: batch_pb2.BatchItem, public_url: str, signer: UrlSigner, now_s: float) -> dict[str, Any]:
    """One item's line of the results."""
    line: dict[str, Any] = {"index": item.index, "run_id": item.run_id}
    if not item.HasField("generation"):
        return {**line, **dict.fromkeys(_OF_RUN), "status": "deleted"}
    shown = generation(item.generation, public_url, signer, now_s)
    return line | {name: shown[name] for name in _OF_RUN}
