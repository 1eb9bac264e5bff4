from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.auth.window import SECOND_US, WINDOW_US, Window, admit

START_US = 1_700_000_000 * SECOND_US


def let_in(window: Window, now_us: int, count: int, limit: int) -> tuple[Window, int]:
    window, admission = admit(window, now_us=now_us, count=count, limit=limit)
    return window, admission.admitted


@given(
    steps=st.lists(st.tuples(st.integers(0, 20 * SECOND_US), st.integers(1, 8)), max_size=60),
    limit=st.integers(1, 20),
)
def test_no_sixty_seconds_ever_hold_more_than_the_limit_and_no_room_of_61_seconds_is_refused(steps, limit):
    window, now_us, accepted = Window(), START_US, []
    for pause_us, count in steps:
        now_us += pause_us
        in_61_s = sum(moment_us > now_us - WINDOW_US - SECOND_US for moment_us in accepted)
        window, admitted = let_in(window, now_us, count, limit)
        accepted += [now_us] * admitted
        assert sum(moment_us > now_us - WINDOW_US for moment_us in accepted) <= limit
        assert admitted >= min(count, limit - in_61_s)
        assert len(window.moments_us) <= 61


def test_a_lone_request_leaves_after_sixty_seconds_to_the_microsecond():
    window, _ = let_in(Window(), START_US + 123, 1, 1)
    assert let_in(window, START_US + 123 + WINDOW_US - 1, 1, 1)[1] == 0
    assert let_in(window, START_US + 123 + WINDOW_US, 1, 1)[1] == 1


def test_a_list_is_let_in_as_far_as_there_is_room():
    window, admission = admit(Window(), now_us=START_US, count=7, limit=5)
    assert (admission.admitted, admission.used_before) == (5, 0)
    assert admission.free_us == START_US + WINDOW_US
    assert window == Window((START_US,), (5,))


def test_refused_requests_are_not_counted():
    full, _ = let_in(Window(), START_US, 5, 5)
    assert let_in(full, START_US + 1, 100, 5) == (full, 0)


def test_the_moment_of_the_next_room_looks_past_entries_that_a_lowered_limit_makes_too_many():
    window, _ = let_in(Window(), START_US, 5, 10)
    window, _ = let_in(window, START_US + 10 * SECOND_US, 5, 10)
    _, admission = admit(window, now_us=START_US + 11 * SECOND_US, count=1, limit=3)
    assert admission.free_us == START_US + 10 * SECOND_US + WINDOW_US
    assert admission.oldest_us == START_US


@given(back_us=st.integers(1, 10**15))
def test_a_clock_that_jumps_back_lets_nobody_in_too_early_and_heals_within_a_minute(back_us):
    window, _ = let_in(Window(), START_US, 5, 5)
    window, admitted = let_in(window, START_US - back_us, 1, 5)
    assert admitted == 0
    assert let_in(window, START_US - back_us + WINDOW_US - 1, 1, 5)[1] == 0
    assert let_in(window, START_US - back_us + WINDOW_US, 5, 5)[1] == 5
