"""A bar for each day, stacked by series: the places and sizes of its pieces. Pure; the template draws them as SVG."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: Series with a colour of their own; what is less than those goes together.
MAX_SERIES: Final = 6
WIDTH: Final = 900
HEIGHT: Final = 240
_LEFT: Final = 44
_TOP: Final = 12
_FOOT: Final = 24
_GAP_RATIO: Final = 0.28
_STEPS: Final = (1, 2, 5)
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a bar, in the chart's units."""

    x: float
    y: float
    width: float
    height: float
    series: int
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All that the template draws."""

    pieces: tuple[Piece, ...]
    ticks: tuple[tuple[float, str], ...]
    """Height and words of the lines across."""
    days: tuple[tuple[float, str], ...]
    """Place and words below the bars."""
    legend: tuple[tuple[int, str], ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    """The same as numbers, a day each, for who reads tables."""
    left: float = _LEFT
    width: float = WIDTH
    height: float = HEIGHT
    foot: float = HEIGHT - _FOOT


def draw(
    usage: Sequence[Mapping[str, Any]],
    days: Sequence[dt.date],
    series_of: Callable[[Mapping[str, Any]], str],
) -> Chart:
    """Lay out the images of some days.

    Args:
        usage: rows as `/v1/usage` shows them.
        days: those that are shown, the earliest first.
        series_of: what a row is counted under.
    """
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    totals: dict[str, int] = defaultdict(int)
    for row in usage:
        counts[row["day"]][series_of(row)] += row["images"]
        totals[series_of(row)] += row["images"]
    names = _names(totals)
    rows = tuple((day.isoformat(), _row(counts[day.isoformat()], names)) for day in days)
    top, ticks = _scale(max((sum(row) for _, row in rows), default=0))
    return Chart(
        pieces=tuple(_pieces(rows, names, top)),
        ticks=tuple((_y(value, top), f"{value:,}") for value in ticks),
        days=_marks(days),
        legend=tuple((index + 1, name) for index, name in enumerate(names)),
        rows=rows,
    )


def _names(totals: Mapping[str, int]) -> list[str]:
    by_size = sorted(totals, key=lambda name: (-totals[name], name))
    if len(by_size) <= MAX_SERIES:
        return by_size
    return [*by_size[: MAX_SERIES - 1], OTHERS]


def _row(counts: Mapping[str, int], names: Sequence[str]) -> tuple[int, ...]:
    known = [counts.get(name, 0) for name in names]
    if OTHERS in names:
        known[names.index(OTHERS)] = sum(counts.values()) - sum(known)
    return tuple(known)


def _scale(most: int) -> tuple[int, list[int]]:
    """The height of the chart, and three to five round values on the way."""
    step = 1
    while True:
        for factor in _STEPS:
            if factor * step * 4 >= most:
                size = factor * step
                return size * 4, [size * line for line in range(5)]
        step *= 10


def _y(value: float, top: int) -> float:
    return round(HEIGHT - _FOOT - (HEIGHT - _FOOT - _TOP) * value / top, 1)


def _pieces(rows: Sequence[tuple[str, tuple[int, ...]]], names: Sequence[str], top: int) -> list[Piece]:
    slot = (WIDTH - _LEFT) / max(1, len(rows))
    width = round(slot * (1 - _GAP_RATIO), 1)
    found = []
    for place, (day, counts) in enumerate(rows):
        below = 0
        for series, count in enumerate(counts):
            if count:
                x = round(_LEFT + slot * place + slot * _GAP_RATIO / 2, 1)
                y = _y(below + count, top)
                label = f"{day}: {names[series]}, {count:,}"
                found.append(Piece(x, y, width, round(_y(below, top) - y, 1), series + 1, label))
                below += count
    return found


def _marks(days: Sequence[dt.date]) -> tuple[tuple[float, str], ...]:
    slot = (WIDTH - _LEFT) / max(1, len(days))
    every = max(1, len(days) // 6)
    return tuple(
        (round(_LEFT + slot * (place + 0.5), 1), day.strftime("%-d %b"))
        for place, day in enumerate(days)
        if (len(days) - 1 - place) % every == 0
    )
