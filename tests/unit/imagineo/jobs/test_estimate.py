"""Estimates: whole seconds, more work never sooner, and a reason to wait in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.jobs.estimate import (
    DEFAULT_SPEED,
    MAX_ESTIMATE_S,
    Place,
    Queue,
    position,
    queued_s,
    running_s,
    waiting_for,
    work_of,
)
from imagineo.v1 import generation_pb2, job_pb2

FREE, PREMIUM = job_pb2.LANE_FREE, job_pb2.LANE_PREMIUM
WORKS = st.floats(0, 1e6)
SPEEDS = st.lists(st.floats(0, 100), max_size=5)


def place(before_work=0.0, own_work=10.0, lane=FREE, before_count=0):
    return Place(lane, before_count, before_work, own_work)


def test_work_is_megapixels_times_steps():
    assert work_of(generation_pb2.Parameters(width=1000, height=500, steps=20)) == 10.0


def test_an_idle_platform_takes_the_run_at_once():
    assert queued_s(place(), Queue(), [5.0]) == 2
    assert queued_s(place(), Queue(), []) == 10 / DEFAULT_SPEED
    assert queued_s(place(own_work=0.0), Queue(), [5.0]) == 1


def test_work_before_is_shared_by_the_workers_and_the_own_is_not():
    assert queued_s(place(before_work=100.0), Queue(), [5.0, 5.0]) == 10 + 2


def test_other_lanes_cost_their_share():
    queue = Queue(waiting_count={PREMIUM: 8}, waiting_work={PREMIUM: 80.0})
    assert position(place(), queue) == 4
    assert queued_s(place(), queue, [10.0]) == 4 + 1
    assert position(place(lane=PREMIUM), queue) == 0


@given(before=WORKS, more=WORKS, own=WORKS, speeds=SPEEDS, running=WORKS)
def test_an_estimate_is_whole_bounded_and_never_falls_with_more_work(before, more, own, speeds, running):
    queue = Queue(running_work=running)
    less = queued_s(place(before, own), queue, speeds)
    assert 1 <= less <= MAX_ESTIMATE_S
    assert less <= queued_s(place(before + more, own), queue, speeds)


@given(own=WORKS, speeds=SPEEDS, progress=st.integers(0, 99))
def test_what_is_left_shrinks_with_progress(own, speeds, progress):
    assert running_s(own, progress + 1, speeds) <= running_s(own, progress, speeds)


@pytest.mark.parametrize("work", [math.inf, math.nan])
def test_a_nonsense_amount_of_work_says_a_day(work):
    assert queued_s(place(own_work=work), Queue(), [1.0]) == MAX_ESTIMATE_S


@pytest.mark.parametrize(
    ("before", "workers", "words"),
    [
        (3, 0, "a worker that draws with tiny"),
        (0, 1, "a free worker"),
        (1, 1, "1 run before it"),
        (5, 2, "5 runs before it"),
    ],
)
def test_a_run_says_what_it_waits_for(before, workers, words):
    assert waiting_for(before, workers, "tiny") == words
