from __future__ import annotations

import pytest

from services.worker.engine.knee import FIRST_PATIENCE, LADDER, MOST_ROWS, RowCap, knee, profile


@pytest.mark.parametrize(
    ("step_s", "rows"),
    [
        (lambda _: 0.01, LADDER[-1]),
        (lambda rows: 0.01 * rows, 1),
        (lambda rows: max(0.08, 0.01 * rows), 8),
        (lambda rows: 0.1 + 0.01 * rows, LADDER[-1]),
    ],
)
def test_the_knee_is_where_more_rows_stop_to_gain(step_s, rows):
    assert knee(profile(step_s)) == rows


def test_one_odd_rung_does_not_end_the_ladder():
    times = {1: 0.01, 2: 0.021, 4: 0.021, 8: 0.022, 16: 0.023, 32: 0.024}
    assert knee(profile(times.__getitem__)) == 32


def test_slow_steps_are_not_tried_larger():
    measured = profile(lambda rows: 1.5 * rows)
    assert sorted(measured) == [1, 2]


def settled(cap, step_s):
    """The cap after many full steps."""
    for _ in range(100):
        cap.note(cap.rows, step_s(cap.rows))
    return cap.rows


@pytest.mark.parametrize("guess", [1, 2, 8])
def test_full_steps_raise_a_guess_as_long_as_more_rows_gain(guess):
    assert settled(RowCap(guess), lambda rows: max(0.08, 0.01 * rows)) == 8


def test_the_cap_ends_at_the_most_rows():
    assert settled(RowCap(4), lambda _: 0.01) == MOST_ROWS


def test_steps_do_not_get_slower_than_a_cancel_may_wait():
    assert settled(RowCap(4), lambda rows: 0.5 + 0.05 * rows) == 16


def test_steps_that_are_not_full_tell_nothing():
    cap = RowCap(8)
    for _ in range(100):
        cap.note(4, 0.01)
    assert cap.rows == 8


def full_steps(cap, count):
    """The caps after each of so many full steps."""
    found = []
    for _ in range(count):
        cap.note(cap.rows, 0.01)
        found.append(cap.rows)
    return found


def test_what_does_not_fit_into_memory_is_not_tried_again_soon():
    cap = RowCap(8)
    cap.lower(3)
    assert full_steps(cap, FIRST_PATIENCE - 1)[-1] == 3


def test_a_cap_that_memory_forced_down_grows_back_and_no_further_than_it_was():
    cap = RowCap(MOST_ROWS)
    for rows in (16, 8):
        cap.lower(rows)
    caps = full_steps(cap, 9 * FIRST_PATIENCE)
    assert [rows for rows, before in zip(caps, [8, *caps], strict=False) if rows != before] == [16, 32, MOST_ROWS]
    assert caps.index(16) == FIRST_PATIENCE - 1


def test_each_time_that_it_does_not_fit_again_it_is_tried_more_rarely():
    cap, tries = RowCap(8), []
    for _ in range(5):
        cap.lower(4)
        caps = full_steps(cap, 32 * FIRST_PATIENCE)
        tries.append(caps.index(8) + 1)
    assert tries == [FIRST_PATIENCE * 2**index for index in range(5)]


def test_what_was_not_weighed_yet_is_weighed_once_it_fits_again():
    cap = RowCap(8)
    cap.lower(4)
    full_steps(cap, FIRST_PATIENCE)
    assert settled(cap, lambda rows: max(0.16, 0.01 * rows)) == 16
