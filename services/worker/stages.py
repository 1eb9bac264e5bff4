"""How long each stage of a run takes: as a metric, and in the run's trace."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from imagineo.telemetry import tracing

from services.worker import metrics


@contextlib.contextmanager
def timed(stage: str) -> Iterator[None]:
    """Observe how long the block runs, whichever way it ends."""
    started_s = time.perf_counter()
    try:
        with tracing.span(stage):
            yield
    finally:
        metrics.STAGE_SECONDS.labels(stage).observe(time.perf_counter() - started_s)
