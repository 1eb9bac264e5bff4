"""A drawing in its run's trace: what the device did, by the moments of its steps.

The device works on many runs at once, so a span is the time that passed and says in `imagineo.device_s` what of it was
this run's. Stages without moments of their own stand where they happen: files and text before the first step, decoding
and enlarging after the last.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from imagineo.telemetry import tracing

from services.worker.engine.base import Progress

_BEFORE: Final = {"load": "load adapters", "text": "encode text"}
_AFTER: Final = {"decode": "decode", "upscale": "upscale"}


class DrawingTrace:
    """Notes the steps of one drawing, on the device's thread; `tell` belongs to the run's task."""

    def __init__(self) -> None:
        self._began_s = time.time()
        self._first_s = 0.0
        self._last_s = 0.0
        self._steps = 0

    def note(self, progress: Progress) -> None:
        """Note a step that was made."""
        self._last_s = time.time()
        self._first_s = self._first_s or self._last_s
        self._steps = progress.steps

    def tell(self, stage_s: Mapping[str, float]) -> None:
        """Add the spans of a drawing that is done, from the device's seconds by stage."""
        moment_s = self._began_s
        for stage, name in _BEFORE.items():
            if stage in stage_s:
                tracing.record(name, moment_s, moment_s + stage_s[stage], {"imagineo.device_s": stage_s[stage]})
                moment_s += stage_s[stage]
        ended_s = time.time()
        if self._steps:
            step_s = (self._last_s - self._first_s) / max(1, self._steps - 1)
            attributes = {"imagineo.steps": self._steps, "imagineo.device_s": stage_s.get("denoise", 0.0)}
            tracing.record("denoise", max(self._began_s, self._first_s - step_s), self._last_s, attributes)
            moment_s = self._last_s
        for stage, name in _AFTER.items():
            if stage in stage_s:
                until_s = min(ended_s, moment_s + stage_s[stage])
                tracing.record(name, moment_s, until_s, {"imagineo.device_s": stage_s[stage]})
                moment_s = until_s
