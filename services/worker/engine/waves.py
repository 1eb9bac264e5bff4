"""Runs of one latent size on one base model: who waits, who is stepped, and what a step that fails leaves of them.

Joins and leaves happen between steps. A step that runs out of memory is tried again once what no run uses was given
back, then in halves, and the wave stays that small for a while; one that fails otherwise is tried again run by run, so
that only the run at fault ends. Where the device itself fails, nothing is tried again.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from services.worker.engine import device_health, hand_back, memory
from services.worker.engine.base import DrawStopped, Progress, StopReason
from services.worker.engine.batch import Batch
from services.worker.engine.failures import NotFinite, OutOfMemory
from services.worker.engine.fairness import next_to_join
from services.worker.engine.knee import RowCap
from services.worker.engine.model import Model
from services.worker.engine.run import Run
from services.worker.engine.sketches import Glance

log = logging.getLogger(__name__)

#: How often a step may run out of memory before it is divided.
_TRIES: Final = 2


class Wave:
    """Used on the step loop's thread alone."""

    def __init__(self, model: Model, row_cap: RowCap, clock: Callable[[], float]) -> None:
        self.model = model
        self.row_cap = row_cap
        self._clock = clock
        self._waiting: list[Run] = []
        self._runs: list[Run] = []
        self._batches: list[Batch] = []
        self._is_stale = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left."""
        return not self._runs and not self._waiting

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs that the next step carries."""
        return tuple(self._runs)

    @property
    def everyone(self) -> tuple[Run, ...]:
        """The runs that the next step carries, and those that wait."""
        return (*self._runs, *self._waiting)

    def join(self, run: Run) -> None:
        """Let a run wait for its first step."""
        self._waiting.append(run)

    def admit(self) -> None:
        """Let runs leave that should stop, and others join as far as there is room."""
        self._leave()
        rows = sum(run.rows for run in self._runs)
        while self._waiting:
            index = next_to_join(self._waiting, self._runs)
            if self._runs and rows + self._waiting[index].rows > self.row_cap.rows:
                return
            run = self._waiting.pop(index)
            run.started_s = self._clock()
            rows += run.rows
            self._runs.append(run)
            self._is_stale = True

    def step(self) -> None:
        """Make one step of each run; runs that end are answered."""
        if self._is_stale:
            self._scatter()
        if not self._batches:
            for part in self._parts():
                self._make_step(part)
        else:
            for batch in list(self._batches):
                self._step_batch(batch)
        self._settle()

    def stop(self, make_problem: Callable[[Run], Exception]) -> None:
        """End every run."""
        for run in [*self._waiting, *self._runs]:
            self._end(run, make_problem(run))

    def _leave(self) -> None:
        stopped = [run for run in (*self._waiting, *self._runs) if run.stop.reason is not None]
        if any(run.stop.reason is StopReason.DRAINING for run in stopped):
            self._scatter()
        for run in stopped:
            state = _packed(run) if run.stop.reason is StopReason.DRAINING else None
            self._end(run, DrawStopped(state))

    def _scatter(self) -> None:
        """Take the batches apart: each run has its own latents again."""
        for batch in self._batches:
            batch.scatter()
        self._batches.clear()
        self._is_stale = False

    def _parts(self) -> list[list[Run]]:
        parts: list[list[Run]] = []
        for run in self._runs:
            if parts and sum(one.rows for one in (*parts[-1], run)) <= self.row_cap.rows:
                parts[-1].append(run)
            else:
                parts.append([run])
        return parts

    def _make_step(self, runs: Sequence[Run], tries: int = 1) -> None:
        """One step of some runs in a new batch."""
        try:
            batch = Batch(self.model, runs)
        except Exception as problem:  # noqa: BLE001 - it becomes the outcome of the run at fault
            fault = _without_tensors(problem)
        else:
            self._batches.append(batch)
            self._step_batch(batch, tries)
            return
        self._divide(runs, fault, tries)

    def _step_batch(self, batch: Batch, tries: int = 1) -> None:
        started_s = self._clock()
        fault, cost_s = None, 0.0
        try:
            seconds = self.model.clock.start()
            batch.step()
            cost_s = seconds()
        except Exception as problem:  # noqa: BLE001 - it becomes the outcome of the run at fault
            fault = _without_tensors(problem)
        if fault is not None:
            batch.scatter()
            self._batches.remove(batch)
            runs = batch.runs
            del batch
            self._divide(runs, fault, tries)
            return
        now_s = self._clock()
        self.row_cap.note(batch.row_count, cost_s)
        if batch.sole_lora is not None:
            self.model.fusing.note_step(batch.kind, cost_s)
        for index, run in enumerate(batch.runs):
            run.device_s += (now_s - started_s) / len(batch.runs)
            _tell(run, now_s, functools.partial(batch.glance, index))

    def _divide(self, runs: Sequence[Run], problem: Exception, tries: int) -> None:
        self._is_stale = True
        if device_health.is_device_fault(problem):
            raise problem
        if isinstance(problem, OutOfMemory):
            self._make_room(runs, tries)
        elif len(runs) == 1:
            self._end(runs[0], problem)
        else:
            log.warning("a step failed; trying its %d runs one by one", len(runs), exc_info=problem)
            for run in runs:
                self._make_step([run])

    def _make_room(self, runs: Sequence[Run], tries: int) -> None:
        """Go on with a step that did not fit: with what no run uses given back, then in halves."""
        self.model.yield_memory()
        if tries < _TRIES:
            self._make_step(runs, tries + 1)
        elif len(runs) == 1:
            self._end(runs[0], OutOfMemory())
        else:
            half = len(runs) // 2
            self.row_cap.lower(sum(run.rows for run in runs[half:]))
            log.warning("out of memory; stepping at most %d rows of this size for a while", self.row_cap.rows)
            self._make_step(runs[:half])
            self._make_step(runs[half:])

    def _settle(self) -> None:
        done = [run for run in self._runs if run.is_done]
        if not done:
            return
        self._scatter()
        for run in done:
            self._end(run, self._drawn(run))

    def _drawn(self, run: Run, tries: int = 1) -> Tensor | Exception:
        """What becomes of a run whose steps are made: its latents alone, or why there are none."""
        try:
            return run.latents.clone() if bool(torch.isfinite(run.latents).all()) else NotFinite()
        except Exception as problem:
            if device_health.is_device_fault(problem):
                raise
            fault = _without_tensors(problem)
        if not isinstance(fault, OutOfMemory) or tries >= _TRIES:
            return fault
        self.model.yield_memory()
        return self._drawn(run, tries + 1)

    def _end(self, run: Run, outcome: Tensor | Exception) -> None:
        if run in self._runs:
            self._runs.remove(run)
            self._is_stale = True
        else:
            self._waiting.remove(run)
        if isinstance(outcome, Exception):
            run.outcome.set_exception(outcome)
        else:
            run.outcome.set_result(outcome)


def _packed(run: Run) -> bytes | None:
    """What is left of a run for another worker; nothing where memory does not hold it, then it is drawn anew."""
    try:
        return hand_back.packed(run)
    except Exception as problem:
        if device_health.is_device_fault(problem):
            raise
        log.warning("the state of a run could not be saved", exc_info=problem)
        return None


def _without_tensors(problem: Exception) -> Exception:
    """What a failed step leaves: of one that did not fit nothing, since its frames hold what it had computed."""
    return OutOfMemory() if memory.is_out_of_memory(problem) else problem


def _tell(run: Run, now_s: float, glance: Callable[[], Glance]) -> None:
    step_s = (now_s - run.started_s) / run.step
    make = run.sketch
    sketch = None if make is None or run.is_done else lambda: make(glance())
    try:
        run.on_progress(Progress(run.step, run.steps, step_s * (run.steps - run.step), sketch))
    except Exception:
        log.exception("a run's progress could not be told")
