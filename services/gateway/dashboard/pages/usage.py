"""Usage: what is left of the limits, and a chart of the last days by model or by key."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from services.gateway.dashboard import chart
from services.gateway.dashboard.models_by_id import names_of_models
from services.gateway.dashboard.visit import Visit

SPANS: Final = (7, 30, 90)
_ROWS: Final = 100
#: More rows than these are not read for one page; it says so.
_MAX_PAGES: Final = 20


async def show(visit: Visit) -> Response:
    """The page."""
    span = int(visit.asked("days")) if visit.asked("days") in map(str, SPANS) else 30
    by = "key" if visit.asked("by") == "key" else "model"
    today = dt.datetime.now(dt.UTC).date()
    days = [today - dt.timedelta(days=back) for back in reversed(range(span))]
    limits, (usage, total, is_whole), models, keys = await asyncio.gather(
        visit.ask("GET", "/v1/limits"), _usage(visit, days[0]), names_of_models(visit), _keys(visit)
    )
    names = keys if by == "key" else models
    no_key = "the dashboard" if by == "key" else "unknown"

    def series_of(row: Mapping[str, Any]) -> str:
        found = row[f"{by}_id"]
        return names.get(found, found) if found else no_key

    return visit.page(
        "usage/show.html",
        limits=limits,
        total=total,
        chart=chart.draw(usage, days, series_of),
        is_whole=is_whole,
        span=span,
        spans=SPANS,
        by=by,
    )


async def _usage(visit: Visit, first: dt.date) -> tuple[list[dict[str, Any]], dict[str, Any], bool]:
    """The rows since a day, their sums, and whether these are all."""
    rows: list[dict[str, Any]] = []
    cursor, found = "", {}
    for _ in range(_MAX_PAGES):
        query = {"limit": str(_ROWS), "from": first.isoformat(), "cursor": cursor}
        found = await visit.ask("GET", "/v1/usage", query=query)
        rows += found["usage"]
        cursor = found["next_cursor"] or ""
        if not cursor:
            break
    return rows, found["total"], not cursor


async def _keys(visit: Visit) -> dict[str, str]:
    if not visit.may("keys:read"):
        return {}
    found = await visit.ask("GET", "/v1/keys", query={"limit": "100"})
    return {key["id"]: key["name"] for key in found["keys"]}
