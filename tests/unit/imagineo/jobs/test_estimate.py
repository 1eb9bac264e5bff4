"""Estimates: whole seconds, more work never sooner, and a reason to wait in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.jobs.estimate import (
    DEFAULT_SPEED,
    MAX_ESTIMATE_S,
    UPSCALE_STEPS,
    Pace,
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
PACES = st.lists(st.builds(Pace, st.floats(0, 100), st.floats(0, 100), st.integers(1, 16)), max_size=5)
COUNTS = st.integers(0, 1000)


def place(before_work=0.0, own_work=10.0, lane=FREE, before_count=0):
    return Place(lane, before_count, before_work, own_work)


def test_work_is_megapixels_times_steps():
    assert work_of(generation_pb2.Parameters(width=1000, height=500, steps=20)) == 10.0


def test_a_variation_works_only_the_steps_that_are_made():
    def of(strength):
        source = generation_pb2.Source(kind=generation_pb2.SOURCE_KIND_VARIATION, strength=strength)
        return work_of(generation_pb2.Parameters(width=1000, height=500, steps=20, source=source))

    assert [of(strength) for strength in (0.0, 0.04, 0.5, 0.59, 1.0)] == [0.0, 0.0, 5.0, 5.5, 10.0]


def test_an_upscale_works_by_the_size_of_its_source_whatever_the_source_was_drawn_with():
    image = generation_pb2.Image(width=1000, height=500)
    source = generation_pb2.Source(kind=generation_pb2.SOURCE_KIND_UPSCALE, scale=4, image=image)
    for steps in (0, 100):
        parameters = generation_pb2.Parameters(width=4000, height=2000, steps=steps, source=source)
        assert work_of(parameters) == 0.5 * UPSCALE_STEPS


def test_an_idle_platform_takes_the_run_at_once():
    assert queued_s(place(), Queue(), [Pace(5.0)]) == 2
    assert queued_s(place(), Queue(), []) == 10 / DEFAULT_SPEED
    assert queued_s(place(own_work=0.0), Queue(), [Pace(5.0)]) == 1


def test_a_free_slot_is_taken_at_once_and_shared_with_those_that_run():
    running = Queue(running_work=30.0, running_count=3)
    assert queued_s(place(own_work=9.5), running, [Pace(total=20.0, each=5.0, slots=4)]) == 2
    crowded = queued_s(place(own_work=95.0), running, [Pace(total=20.0, each=20.0, slots=4)])
    assert 95 / 20 < crowded < 95 / 5


def test_a_run_waits_for_as_many_ends_as_it_has_runs_before_it():
    queue = Queue(waiting_count={FREE: 5}, waiting_work={FREE: 50.0}, running_work=20.0, running_count=4)
    one_by_one = Pace(total=10.0, each=2.5, slots=4)
    assert queued_s(place(before_work=50.0, before_count=5), queue, [one_by_one]) == math.ceil(6 * 70 / 9 / 10 + 4)


def test_work_before_is_shared_by_the_workers_and_the_own_is_not():
    queue = Queue(running_work=20.0, running_count=2)
    assert queued_s(place(before_work=100.0, before_count=10), queue, [Pace(5.0), Pace(5.0)]) == 11 + 2


def test_other_lanes_cost_their_share():
    queue = Queue(waiting_count={PREMIUM: 8}, waiting_work={PREMIUM: 80.0}, running_work=5.0, running_count=1)
    assert position(place(), queue) == 4
    assert math.isclose(queued_s(place(), queue, [Pace(1.0)]), 5 + 40 + 10)
    assert position(place(lane=PREMIUM), queue) == 0


@given(before=WORKS, more=WORKS, own=WORKS, paces=PACES, running=WORKS, count=COUNTS, running_count=COUNTS)
def test_an_estimate_is_whole_bounded_and_never_falls_with_more_work(
    before, more, own, paces, running, count, running_count
):
    queue = Queue(running_work=running, running_count=running_count)
    less = queued_s(place(before, own, before_count=count), queue, paces)
    assert 1 <= less <= MAX_ESTIMATE_S
    assert less <= queued_s(place(before + more, own, before_count=count), queue, paces)


def test_a_pace_next_to_nothing_is_no_division_by_nothing():
    assert queued_s(place(own_work=0.0), Queue(running_count=1), [Pace(total=5e-324, slots=2)]) == 1
    assert queued_s(place(own_work=1.0), Queue(running_count=1), [Pace(total=5e-324, slots=2)]) == MAX_ESTIMATE_S


@given(own=WORKS, paces=PACES, progress=st.integers(0, 99))
def test_what_is_left_shrinks_with_progress(own, paces, progress):
    assert running_s(own, progress + 1, paces) <= running_s(own, progress, paces)


@pytest.mark.parametrize("work", [math.inf, math.nan])
def test_a_nonsense_amount_of_work_says_a_day(work):
    assert queued_s(place(own_work=work), Queue(), [Pace(1.0)]) == MAX_ESTIMATE_S


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
