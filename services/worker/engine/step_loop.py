"""The loop that steps: one thread owns the UNet; between two steps runs join, leave and are answered.

Nothing but steps happens here: texts are encoded before a run comes, pictures are decoded after it left. It is a
daemon: a step that hangs in native code cannot keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import torch
from torch import Tensor

from services.worker.engine.base import DrawStopped
from services.worker.engine.device_health import DeviceHealth
from services.worker.engine.failures import DeviceBroken
from services.worker.engine.fairness import FairShare
from services.worker.engine.model import Model
from services.worker.engine.run import Run
from services.worker.engine.waves import Wave

Result = TypeVar("Result")
WaveKey = tuple[str, int, int]


class StepLoop:
    """Takes runs from the event loop and answers there."""

    def __init__(self, prepare: Callable[[], None], clock: Callable[[], float], health: DeviceHealth) -> None:
        self._prepare = prepare
        self._health = health
        self._clock = clock
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waves: dict[WaveKey, Wave] = {}
        self._fairness: FairShare[WaveKey] = FairShare()
        self._began_s: float | None = None
        self._thread = threading.Thread(target=self._loop, name="steps", daemon=True)
        self._thread.start()

    async def denoise(self, model: Model, run: Run) -> Tensor:
        """Step a run to its end: its latents (1, channels, height, width).

        Raises:
            DrawStopped: if its stop signal was set before the last step.
            DrawFailed: if it cannot be drawn.
            DeviceBroken: if the device is.
        """
        self._health.check()
        run.outcome.set_running_or_notify_cancel()
        self._inbox.put(lambda: self._join(model, run))
        return await asyncio.wrap_future(run.outcome)

    async def call(self, function: Callable[[], Result]) -> Result:
        """Await `function()` between two steps."""
        answer: Future[Result] = Future()
        self._inbox.put(lambda: _answer(answer, function))
        return await asyncio.wrap_future(answer)

    @property
    def busy_s(self) -> float:
        """For how long the step, or what is done between two steps, has been at hand. From any thread."""
        began_s = self._began_s
        return 0.0 if began_s is None else self._clock() - began_s

    def give_way(self) -> None:
        """Let others step amid work that takes long; the rest of it has a step's time of its own. On the thread."""
        if self._waves:
            with self._watched():
                self._step()
        self._began_s = self._clock()

    @property
    def is_alive(self) -> bool:
        """Whether there is somebody to make the steps. From any thread."""
        return self._thread.is_alive()

    async def close(self) -> None:
        """End the thread after the step at hand; runs that are left stop."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, 5.0)

    def _loop(self) -> None:
        try:
            self._prepare()
            with torch.inference_mode():
                while self._take():
                    if self._waves:
                        with self._watched():
                            self._step()
        except BaseException as problem:  # noqa: BLE001 - without this thread there is no device
            self._break(problem, ())
            while self._take():
                pass
        for wave in self._waves.values():
            wave.stop(lambda _: DrawStopped())

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Let whoever watches see for how long the block is at work."""
        self._began_s = self._clock()
        try:
            yield
        finally:
            self._began_s = None

    def _take(self) -> bool:
        """Do what is in the inbox; waits for something only while there is nothing to step."""
        while True:
            try:
                work = self._inbox.get(block=not self._waves)
            except queue.Empty:
                return True
            if work is None:
                return False
            with self._watched():
                work()
            # Nothing of the finished work may stay alive while the thread waits for more.
            del work

    def _join(self, model: Model, run: Run) -> None:
        try:
            self._health.check()
            self._wave(model, run).join(run)
        except Exception as problem:  # noqa: BLE001 - it is this run's outcome
            run.outcome.set_exception(problem)

    def _wave(self, model: Model, run: Run) -> Wave:
        height, width = run.latents.shape[2:]
        key = (model.base.slug, height, width)
        if key not in self._waves:
            self._waves[key] = Wave(model, model.row_cap(height, width), self._clock)
        return self._waves[key]

    def _step(self) -> None:
        """Let runs leave and join in every wave, then step the one whose turn it is."""
        for key, wave in list(self._waves.items()):
            wave.admit()
            if wave.is_empty:
                self._drop(key)
        if not self._waves:
            return
        key = self._fairness.pick({key: wave.runs for key, wave in self._waves.items()})
        wave, runs = self._waves[key], self._waves[key].runs
        started_s = self._clock()
        try:
            self._consider_fusing(wave.model)
            wave.step()
        except Exception as problem:  # noqa: BLE001 - what it cannot lay to one run's charge is the device's
            self._break(problem, runs)
            return
        self._fairness.charge(key, self._clock() - started_s, runs)
        if wave.is_empty:
            self._drop(key)

    def _consider_fusing(self, model: Model) -> None:
        """Let the weights carry the LoRAs that all runs of a model share, while that pays."""
        waves = {key: wave for key, wave in self._waves.items() if wave.model is model}
        ahead = {
            (height, width, sum(run.rows for run in wave.runs)): max(run.steps - run.step for run in wave.runs)
            for (_, height, width), wave in waves.items()
        }
        model.fusing.consider([run.lora for wave in waves.values() for run in wave.everyone], ahead)

    def _break(self, problem: BaseException, suspects: Collection[Run]) -> None:
        """The device does nothing more: every run is answered, those that come later too."""
        self._health.note(problem)
        for wave in self._waves.values():
            wave.stop(lambda run: DeviceBroken(is_suspect=run in suspects))
        self._waves.clear()

    def _drop(self, key: WaveKey) -> None:
        self._waves.pop(key).model.unbind()


def _answer(answer: Future[Any], function: Callable[[], Any]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(function())
    except BaseException as problem:  # noqa: BLE001 - it travels to whoever awaits
        answer.set_exception(problem)
