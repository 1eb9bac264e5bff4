"""Ids are in the order of time, so that old runs are found by their ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from imagineo.ids import is_id, new_id

from services.status.retention import first_id_at

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zoned beside


def test_an_id_lies_between_the_moments_around_it():
    before, made, after = datetime.now(UTC), new_id("gen"), datetime.now(UTC) + timedelta(milliseconds=1)
    assert first_id_at(before) <= made < first_id_at(after)


@given(MOMENTS, MOMENTS)
def test_bounds_are_ids_in_the_order_of_their_moments(one, two):
    assert is_id(first_id_at(one), "gen")
    if one + timedelta(milliseconds=1) < two:
        assert first_id_at(one) < first_id_at(two)
