"""A run in hand, and what status is told once it is over. Pure but for the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from imagineo.broker.port import Delivery
from imagineo.v1 import event_pb2, generation_pb2, job_pb2

from services.worker.engine.base import DrawResult, StopSignal
from services.worker.outcome import Ending
from services.worker.provenance import Maker, provenance


@dataclass(slots=True)
class RunInHand:
    """What is known of the run in hand."""

    job: job_pb2.Job
    delivery: Delivery
    attempt: int
    stop: StopSignal = field(default_factory=StopSignal)
    drawn: DrawResult | None = None
    image: generation_pb2.Image | None = None
    replay: generation_pb2.Replay | None = None


def outcome_message(
    run: RunInHand, ending: Ending, status: generation_pb2.Status.ValueType, *, worker_id: str, maker: Maker
) -> event_pb2.Outcome:
    """What is published of a run that is over, or handed back."""
    message = event_pb2.Outcome(run_id=run.job.run_id, attempt=run.attempt, status=status, worker_id=worker_id)
    message.finished_at.FromDatetime(datetime.now(UTC))
    if run.image is not None and status == generation_pb2.STATUS_COMPLETED:
        message.image.CopyFrom(run.image)
        if run.replay is not None:
            message.replay.CopyFrom(run.replay)
        if run.drawn is not None:
            message.provenance.CopyFrom(provenance(run.job, maker, run.drawn))
    if ending.error_code:
        message.error.code, message.error.message = ending.error_code, ending.error_message
    if run.drawn is not None:
        message.draw_ms = int(run.drawn.device_s * 1000)
        message.lora_reports.extend(_reports(run.job, run.drawn))
    return message


def _reports(job: job_pb2.Job, drawn: DrawResult) -> list[generation_pb2.LoraReport]:
    """One for each LoRA of the job, in its order; one of weight 0 was not touched."""
    by_id = {one.model_id: one for one in drawn.adapter_reports}
    reports = []
    for one in job.adapters:
        known = by_id.get(one.model_id)
        matched, ignored = (known.matched_keys, known.ignored_keys) if known else (0, 0)
        reports.append(
            generation_pb2.LoraReport(
                model_id=one.model_id, weight=one.weight, matched_keys=matched, ignored_keys=ignored
            )
        )
    return reports
