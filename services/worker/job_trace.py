"""The trace of a job's request, gone on with here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from imagineo.broker.port import Delivery
from imagineo.telemetry import tracing
from imagineo.v1 import job_pb2


@contextlib.contextmanager
def continued(job: job_pb2.Job, delivery: Delivery) -> Iterator[None]:
    """Go on with the trace that the delivery or, where a relay of another release sent it, the job itself carries."""
    if not tracing.is_on():
        yield
        return
    attributes: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "messaging.destination.name": delivery.subject,
        "imagineo.run_id": job.run_id,
        "imagineo.org_id": job.organization_id,
        "imagineo.base_model": job.base_model_slug,
        "imagineo.deliveries": delivery.delivered_count,
    }
    carried = delivery.trace if "traceparent" in delivery.trace else dict(job.trace)
    with (
        tracing.continued(carried),
        tracing.span("process imagineo.v1.jobs", attributes, kind="CONSUMER", begins=True),
    ):
        yield
