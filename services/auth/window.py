"""The request limit as a pure function: the twin of `admit` in migrations/0001_tables.sql, and its oracle in tests.

The window is a log of entries, one for each second that had requests: the moment of the second's last request and the
count. An entry leaves 60 s after its last request, so no 60 s ever hold more than the limit; a request may stay counted
for less than a second longer than it must. Refused requests are not counted.
"""

from __future__ import annotations

import dataclasses
from typing import Final

SECOND_US: Final = 1_000_000
WINDOW_US: Final = 60 * SECOND_US


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """The counted requests of one organization, oldest first. Moments are microseconds of the Unix epoch."""

    moments_us: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Admission:
    """How many of the requests were let in, and where the window stands after them."""

    admitted: int
    used_before: int
    now_us: int
    oldest_us: int
    free_us: int


def slide(window: Window, now_us: int) -> Window:
    """Drop what is 60 s old. Where the clock jumped back, move the log back with it.

    Moving keeps every entry for at most 60 s from now: the limit holds, and a wrong clock heals within a minute.
    """
    back_us = max(0, window.moments_us[-1] - now_us) if window.moments_us else 0
    live = [
        (moment_us - back_us, count)
        for moment_us, count in zip(window.moments_us, window.counts, strict=True)
        if moment_us - back_us > now_us - WINDOW_US
    ]
    return Window(tuple(moment_us for moment_us, _ in live), tuple(count for _, count in live))


def admit(window: Window, *, now_us: int, count: int, limit: int) -> tuple[Window, Admission]:
    """Let in as many of `count` requests as the limit has room for, in their order."""
    live = slide(window, now_us)
    used = sum(live.counts)
    admitted = min(count, max(limit - used, 0))
    if admitted:
        live = _append(live, now_us, admitted)
    return live, Admission(
        admitted=admitted,
        used_before=used,
        now_us=now_us,
        oldest_us=live.moments_us[0] if live.moments_us else now_us - WINDOW_US,
        free_us=_free_us(live, limit, now_us),
    )


def _append(live: Window, now_us: int, admitted: int) -> Window:
    if live.moments_us and live.moments_us[-1] // SECOND_US == now_us // SECOND_US:
        return Window((*live.moments_us[:-1], now_us), (*live.counts[:-1], live.counts[-1] + admitted))
    return Window((*live.moments_us, now_us), (*live.counts, admitted))


def _free_us(live: Window, limit: int, now_us: int) -> int:
    """The moment at which one more request fits."""
    rest = sum(live.counts)
    free_us = now_us
    for moment_us, count in zip(live.moments_us, live.counts, strict=True):
        if rest < limit:
            break
        rest -= count
        free_us = moment_us + WINDOW_US
    return free_us
