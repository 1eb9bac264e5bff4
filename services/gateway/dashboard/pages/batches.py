"""Batches: the list, one batch with its pictures, and a form for a sweep of prompts, weights and seeds."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from imagineo import errors
from starlette.responses import Response

from services.gateway.dashboard.models_by_id import names_of_models
from services.gateway.dashboard.visit import Visit

_PAGE: Final = "20"
_ITEMS: Final = "60"
_BATCH: Final = "/v1/batches/{batch_id}"
_MAX_SEEDS: Final = 64


async def show_all(visit: Visit) -> Response:
    """The list, and the form for a new one."""
    found = await visit.ask("GET", "/v1/batches", query={"limit": _PAGE, "cursor": visit.asked("cursor")})
    names = ("name", "prompts", "model_id", "weights", "seeds_count")
    return visit.page(
        "batches/list.html",
        batches=found["batches"],
        next_cursor=found["next_cursor"],
        models=await names_of_models(visit),
        typed={name: visit.form.raw(name) for name in names},
    )


async def show(visit: Visit) -> Response:
    """One batch; the part with its progress asks again until it is over."""
    names = {"batch_id": visit.name("batch_id")}
    batch, items = await asyncio.gather(
        visit.ask("GET", _BATCH, names=names),
        visit.ask("GET", "/v1/generations", query={"limit": _ITEMS, **names}),
    )
    is_part = visit.request.headers.get("hx-request") == "true"
    is_over = batch["status"] in ("completed", "failed", "canceled")
    response = visit.page(
        "batches/part.html" if is_part else "batches/show.html",
        batch=batch,
        runs=items["generations"],
        is_over=is_over,
    )
    if is_part and is_over:
        # The buttons around the part are others once it is over.
        response.headers["HX-Refresh"] = "true"
    return response


async def create(visit: Visit) -> Response:
    """Queue the sweep: every prompt with every weight and seed."""
    form = visit.form
    sweep: dict[str, Any] = {"positive_prompts": form.lines("prompts")}
    if form.text("weights"):
        sweep["lora_weights"] = [_number("lora_weights", word) for word in form.raw("weights").split(",")]
    count = form.number("seeds_count") or 1
    if not isinstance(count, int) or not 1 <= count <= _MAX_SEEDS:
        raise errors.InvalidParameter.of("seeds", f"between 1 and {_MAX_SEEDS}")
    if count > 1:
        sweep["seeds"] = list(range(1, count + 1))
    body: dict[str, Any] = {"sweep": sweep, "defaults": {"model_id": form.text("model_id")}}
    if form.text("name"):
        body["name"] = form.text("name")
    made = await visit.submit("/v1/batches", body=body)
    return visit.go(f"/batches/{made['batch_id']}")


async def cancel(visit: Visit) -> Response:
    """Stop it."""
    names = {"batch_id": visit.name("batch_id")}
    await visit.ask("POST", f"{_BATCH}/cancel", names=names)
    return visit.go(f"/batches/{names['batch_id']}", "batch-canceled")


def _number(param: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as problem:
        raise errors.InvalidParameter.of(param, "numbers with commas between, such as 0.5, 1") from problem
