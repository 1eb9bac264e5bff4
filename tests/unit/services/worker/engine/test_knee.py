from __future__ import annotations

import pytest

from services.worker.engine.knee import LADDER, knee, profile


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
