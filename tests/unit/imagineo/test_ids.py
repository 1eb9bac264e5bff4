"""Ids are prefixed, sortable by time, and recognisable."""

from datetime import UTC, datetime, timedelta

import pytest
from imagineo import ids


def test_ids_of_one_kind_sort_by_the_time_they_were_made():
    made = [ids.new_id("gen") for _ in range(1000)]

    assert made == sorted(made)
    assert len(set(made)) == 1000


def test_an_id_is_its_prefix_and_26_characters():
    prefix, _, body = ids.new_id("model").partition("_")

    assert prefix == "model"
    assert len(body) == 26
    assert body == body.lower()


@pytest.mark.parametrize("text", ["", "gen_", "gen_123456789", "gen_8zzzzzzzzzzzzzzzzzzzzzzzzz", "gen_" + "u" * 26])
def test_what_is_not_an_id_is_told_apart(text):
    assert not ids.is_id(text, "gen")


def test_an_id_of_another_kind_is_not_one_of_this():
    assert not ids.is_id(ids.new_id("base"), "gen")


def test_the_lowest_id_of_a_moment_parts_what_was_made_before_from_what_came_after():
    earlier = ids.new_id("whd")
    now = datetime.now(UTC)

    assert ids.lowest_id("whd", now - timedelta(seconds=1)) < earlier < ids.lowest_id("whd", now + timedelta(seconds=1))
    assert ids.is_id(ids.lowest_id("whd", now), "whd")
