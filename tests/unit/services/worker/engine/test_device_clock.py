"""What steps cost on a device that answers before it has computed, as GPUs do."""

from __future__ import annotations

import pytest
import torch

from services.worker.engine.device_clock import EventClock, ThreadClock, clock_of
from services.worker.engine.families.sd import denoising
from services.worker.engine.knee import RowCap
from tests.support.judged_engine import request_of
from tests.support.steady_rows import MEASURE

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class LateDevice:
    """Takes work in at once and has done it when somebody waits for an event behind it."""

    def __init__(self):
        self.asked_s = self.done_s = 0.0

    def ask(self, seconds):
        self.asked_s += seconds

    def event(self):
        return Event(self)


class Event:
    """As `torch.cuda.Event`: what has not happened yet cannot be asked for its time."""

    def __init__(self, device):
        self.device = device

    def record(self):
        self.at_s = self.device.asked_s

    def synchronize(self):
        self.device.done_s = max(self.device.done_s, self.at_s)

    def elapsed_time(self, end):
        if self.device.done_s < end.at_s:
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return (end.at_s - self.at_s) * 1000


@pytest.fixture
def device(place, monkeypatch):
    """A device whose steps take 10 ms a row, but never less than 80 ms."""
    made = LateDevice()
    inner = denoising.forward

    def forward(pipeline, rows, timesteps, conditions):
        made.ask(max(0.08, 0.01 * rows.shape[0]))
        return inner(pipeline, rows, timesteps, conditions)

    monkeypatch.setattr(denoising, "forward", forward)
    monkeypatch.setattr(place.model, "clock", EventClock(made.event))
    return made


def test_a_reading_waits_for_the_work_and_leaves_out_what_was_asked_before():
    device = LateDevice()
    device.ask(5.0)
    seconds = EventClock(device.event).start()
    device.ask(0.25)
    assert seconds() == pytest.approx(0.25)
    assert device.done_s == device.asked_s


def test_the_knee_is_that_of_the_devices_time_not_of_the_time_to_ask_for_it(place, device, monkeypatch):
    monkeypatch.setattr(place.model, "native_row_cap", 0)
    with torch.inference_mode():
        MEASURE(place.model)
    assert place.model.native_row_cap == 8


def test_a_step_counts_as_made_and_is_charged_once_the_device_has_done_it(place, device, monkeypatch):
    charged, told = [], []
    monkeypatch.setattr(RowCap, "note", lambda _, rows, seconds: charged.append((rows, round(seconds, 6))))
    monkeypatch.setattr("services.worker.engine.waves._tell", lambda *_: told.append(device.done_s == device.asked_s))
    place.draw(request_of(steps=3), request_of(steps=3, seed=2))
    assert set(told) == {True}
    assert {seconds for _, seconds in charged} == {0.08}


def test_on_a_cpu_a_step_costs_its_threads_own_time():
    assert isinstance(clock_of(torch.device("cpu")), ThreadClock)
    assert isinstance(clock_of(torch.device("cuda")), EventClock)
    assert 0 <= ThreadClock().start()() < 1
