"""Moments survive the wire to the microsecond, and a moment without a time zone is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.wire.times import moment, timestamp

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9998, 1, 1))  # noqa: DTZ001  # zone below


@given(MOMENTS, st.integers(min_value=-12, max_value=14))
def test_a_moment_comes_back_equal_and_in_utc(naive, offset_h):
    given_moment = naive.replace(tzinfo=timezone(timedelta(hours=offset_h)))
    back = moment(timestamp(given_moment))
    assert back == given_moment
    assert back.tzinfo is UTC


def test_no_moment_is_no_timestamp():
    assert timestamp(None) is None


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        timestamp(datetime(2026, 1, 1))  # noqa: DTZ001  # the point of the test
