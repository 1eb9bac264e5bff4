"""Makes the protocol's Generation of a stored run: its face to all who read, list and watch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imagineo.jobs import estimate
from imagineo.jobs.estimate import Place, work_of
from imagineo.v1 import event_pb2, generation_pb2, job_pb2
from imagineo.wire.times import timestamp

from services.status.queues import Queues
from services.status.repository.listing import Landmark

Generation = generation_pb2.Generation


def generation_of(row: Mapping[str, Any], before: Landmark, queues: Queues) -> Generation:
    """Build the message; `before` is what waits before a queued run, estimates are of now."""
    job = job_pb2.Job.FromString(row["job"])
    generation = Generation(
        run_id=row["run_id"],
        organization_id=row["organization_id"],
        key_id=row["key_id"],
        status=row["status"],
        progress=row["progress"],
        parameters=job.parameters,
        accepted_estimate_s=row["accepted_estimate_s"],
        created_at=timestamp(row["created_at"]),
        started_at=timestamp(row["started_at"]),
        finished_at=timestamp(row["finished_at"]),
        deadline=timestamp(row["deadline"]),
        attempts=row["attempt"],
        metadata=json.loads(row["metadata"]),
        version=row["version"],
        webhook_url=row["webhook_url"],
        batch_id=row["batch_id"] or "",
        step=row["step"],
        request_id=job.request_id,
    )
    if job.HasField("replay"):
        generation.replay.CopyFrom(job.replay)
    if row["error_code"]:
        generation.error.code, generation.error.message = row["error_code"], row["error_message"]
    if row["outcome"] is not None:
        outcome = event_pb2.Outcome.FromString(row["outcome"])
        generation.lora_reports.extend(outcome.lora_reports)
        if row["status"] == generation_pb2.STATUS_COMPLETED:
            generation.image.CopyFrom(outcome.image)
            generation.draw_ms = outcome.draw_ms
            generation.step = job.parameters.steps
            if outcome.HasField("replay"):
                generation.replay.CopyFrom(outcome.replay)
    if row["held_before"] is not None:
        _tell_held(generation, row["held_before"], job, queues)
    else:
        _tell_waiting(generation, before, job, queues)
    return generation


def _tell_held(generation: Generation, held_before: int, job: job_pb2.Job, queues: Queues) -> None:
    """A run that waits for its turn in a batch: behind all of its lane, and behind mates that should be like it."""
    queue, own = queues.of(job.base_model_slug), work_of(job.parameters)
    before_count = queue.waiting_count.get(job.lane, 0) + held_before
    before_work = queue.waiting_work.get(job.lane, 0.0) + held_before * own
    place = Place(job.lane, before_count, before_work, own)
    generation.queue_position = estimate.position(place, queue)
    generation.waiting_for = f"its turn in batch {generation.batch_id}"
    generation.estimated_time_s = estimate.queued_s(place, queue, queues.paces(job.base_model_slug))


def _tell_waiting(generation: Generation, before: Landmark, job: job_pb2.Job, queues: Queues) -> None:
    slug = job.base_model_slug
    if generation.status == generation_pb2.STATUS_QUEUED:
        place = Place(job.lane, before.before_count, before.before_work, work_of(job.parameters))
        queue, paces = queues.of(slug), queues.paces(slug)
        generation.queue_position = estimate.position(place, queue)
        generation.waiting_for = estimate.waiting_for(generation.queue_position, len(paces), slug)
        generation.estimated_time_s = estimate.queued_s(place, queue, paces)
    elif generation.status in (generation_pb2.STATUS_RUNNING, generation_pb2.STATUS_CANCELING):
        work = work_of(job.parameters)
        generation.estimated_time_s = estimate.running_s(work, generation.progress, queues.paces(slug))
