"""The usage chart's geometry."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.dashboard import chart

DAYS = [dt.date(2026, 1, day) for day in range(1, 8)]


def row(day: int, model_id: str, images: int) -> dict[str, object]:
    return {"day": dt.date(2026, 1, day).isoformat(), "model_id": model_id, "images": images}


def drawn(usage: list[dict[str, object]]) -> chart.Chart:
    return chart.draw(usage, DAYS, lambda found: str(found["model_id"]))


def test_no_usage_draws_no_bar_and_every_day_reads_zero() -> None:
    empty = drawn([])

    assert empty.pieces == ()
    assert [sum(counts) for _, counts in empty.rows] == [0] * len(DAYS)


def test_a_bar_is_stacked_without_gaps_and_the_largest_series_stands_at_the_foot() -> None:
    found = drawn([row(3, "few", 2), row(3, "many", 6)])

    foot, head = found.pieces
    assert (foot.series, head.series) == (1, 2)
    assert foot.label == "2026-01-03: many, 6"
    assert head.y + head.height == foot.y
    assert foot.y + foot.height == found.foot


def test_series_beyond_the_colours_are_counted_together_and_nothing_is_lost() -> None:
    usage = [row(1, f"model {number}", number) for number in range(1, 11)]

    found = drawn(usage)

    assert len(found.legend) == chart.MAX_SERIES
    assert found.legend[-1][1] == chart.OTHERS
    assert sum(found.rows[0][1]) == sum(range(1, 11))


@given(st.lists(st.tuples(st.integers(1, 7), st.sampled_from("abcdefghij"), st.integers(0, 10**6)), max_size=40))
def test_every_piece_lies_inside_the_chart(usage: list[tuple[int, str, int]]) -> None:
    found = drawn([row(*one) for one in usage])

    for piece in found.pieces:
        assert found.left <= piece.x <= piece.x + piece.width <= found.width + 0.1
        assert 0 <= piece.y <= piece.y + piece.height <= found.foot + 0.2
    assert sum(sum(counts) for _, counts in found.rows) == sum(images for _, _, images in usage)
