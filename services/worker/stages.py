"""How long each stage of a run takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from services.worker import metrics


@contextlib.contextmanager
def timed(stage: str) -> Iterator[None]:
    """Observe how long the block runs, whichever way it ends."""
    started_s = time.perf_counter()
    try:
        yield
    finally:
        metrics.STAGE_SECONDS.labels(stage).observe(time.perf_counter() - started_s)
