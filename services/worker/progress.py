"""Carries a run's steps from the device's thread to core NATS, at most four a second, the first and the last always."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.v1 import event_pb2

from services.worker import metrics
from services.worker.engine.base import Progress

INTERVAL_S: Final = 0.25
#: What is left for decoding, encoding and the upload.
DRAWN_PERCENT: Final = 95


class ProgressTeller:
    """One run's progress. Called on the device's thread; sends on the event loop that made it."""

    def __init__(self, broker: Broker, run_id: str, attempt: int) -> None:
        self._broker = broker
        self._run_id = run_id
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_s = 0.0
        self._stepped_s = 0.0

    def __call__(self, progress: Progress) -> None:
        """Note a step."""
        now_s = time.monotonic()
        if self._stepped_s:
            metrics.STEP_SECONDS.observe(now_s - self._stepped_s)
        self._stepped_s = now_s
        is_edge = progress.step in (1, progress.steps)
        if is_edge or now_s - self._told_s >= INTERVAL_S:
            self._told_s = now_s
            self._loop.call_soon_threadsafe(self._send, progress)

    def _send(self, progress: Progress) -> None:
        message = event_pb2.Progress(
            run_id=self._run_id,
            attempt=self._attempt,
            step=progress.step,
            steps=progress.steps,
            progress=progress.step * DRAWN_PERCENT // progress.steps,
            remaining_ms=int(progress.remaining_s * 1000),
        )
        sending = self._broker.emit(subjects.progress(self._run_id), message.SerializeToString())
        task = asyncio.ensure_future(sending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
