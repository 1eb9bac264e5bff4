"""What a piece of work costs: on a CPU the thread's own time, whatever the neighbours do; on a GPU the device's time.

A GPU answers before it has computed, so there a reading waits until the work is done. A step counts as made only then:
what it costs, whom its fault ended, and that a cancelled run takes no part in the next one would else be guesses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch


class DeviceClock(Protocol):
    """Measures work that one thread does."""

    def start(self) -> Callable[[], float]:
        """Begin here. The call of what it gives waits for the work that was asked for since, and tells its seconds."""


class ThreadClock:
    """The calling thread's time on its CPU."""

    def start(self) -> Callable[[], float]:
        """Begin here."""
        started_s = time.thread_time()
        return lambda: time.thread_time() - started_s


class EventClock:
    """The time between two events in the GPU's own order of work."""

    def __init__(self, make_event: Callable[[], Any]) -> None:
        """`make_event` gives what `torch.cuda.Event` is, with its timing enabled."""
        self._make_event = make_event

    def start(self) -> Callable[[], float]:
        """Begin behind the work that was asked for before."""
        began = self._recorded()

        def seconds() -> float:
            ended = self._recorded()
            ended.synchronize()
            return float(began.elapsed_time(ended)) / 1000

        return seconds

    def _recorded(self) -> Any:
        event = self._make_event()
        event.record()
        return event


def clock_of(device: torch.device) -> DeviceClock:
    """The clock of a device."""
    if device.type == "cuda":
        return EventClock(lambda: torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]  # untyped in torch
    return ThreadClock()
