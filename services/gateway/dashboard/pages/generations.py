"""Generations: the grid with its filters, one run with all that is known of it, and what may be done with it."""

from __future__ import annotations

from typing import Any, Final

from imagineo import errors
from starlette.responses import Response

from services.gateway.dashboard.models_by_id import names_of_models
from services.gateway.dashboard.visit import Visit
from services.gateway.rendering import STATUSES

_PAGE: Final = "30"
_RUN: Final = "/v1/generations/{run_id}"


async def show_all(visit: Visit) -> Response:
    """The grid; more of it comes as the reader scrolls on."""
    asked = {name: visit.asked(name) for name in ("status", "model", "batch_id", "cursor")}
    found = await visit.ask("GET", "/v1/generations", query={"limit": _PAGE, **asked})
    is_part = visit.request.headers.get("hx-request") == "true"
    return visit.page(
        "generations/part.html" if is_part else "generations/list.html",
        runs=found["generations"],
        next_cursor=found["next_cursor"],
        asked=asked,
        statuses=list(STATUSES),
        models={} if is_part else await names_of_models(visit),
    )


async def show(visit: Visit) -> Response:
    """One run."""
    run = await visit.ask("GET", _RUN, names={"run_id": visit.name("run_id")})
    return visit.page(
        "generations/show.html",
        run=run,
        models=await names_of_models(visit),
        timeline=_timeline(run),
        is_over=run["status"] in ("completed", "failed", "canceled", "expired"),
    )


async def cancel(visit: Visit) -> Response:
    """Stop it."""
    names = {"run_id": visit.name("run_id")}
    await visit.ask("POST", f"{_RUN}/cancel", names=names)
    return visit.go(f"/generations/{names['run_id']}", "run-canceled")


async def delete(visit: Visit) -> Response:
    """Erase it."""
    await visit.ask("DELETE", _RUN, names={"run_id": visit.name("run_id")})
    return visit.go("/generations", "run-deleted")


async def upscale(visit: Visit) -> Response:
    """Draw it larger."""
    made = await visit.submit(
        f"{_RUN}/upscale", names={"run_id": visit.name("run_id")}, body={"scale": visit.form.number("scale")}
    )
    return visit.go(f"/generations/{made['run_id']}")


async def vary(visit: Visit) -> Response:
    """Draw pictures like it."""
    body = {"count": visit.form.number("count"), "strength": visit.form.number("strength")}
    if visit.form.text("positive_prompt"):
        body["positive_prompt"] = visit.form.raw("positive_prompt")
    made = await visit.submit(f"{_RUN}/variations", names={"run_id": visit.name("run_id")}, body=body)
    runs = made.get("generations", [made])
    if not runs:
        raise errors.Internal("variations were answered without runs")
    return visit.go(f"/generations/{runs[0]['run_id']}" if len(runs) == 1 else "/generations")


def _timeline(run: dict[str, Any]) -> list[dict[str, Any]]:
    """What happened when, as far as it did."""
    events = [{"at": run["created_at"], "words": "Accepted", "tone": "done"}]
    if run["started_at"]:
        tries = f", attempt {run['attempts']}" if run["attempts"] > 1 else ""
        events.append({"at": run["started_at"], "words": f"A worker began to draw{tries}", "tone": "done"})
    if run["finished_at"]:
        tone = "done" if run["status"] == "completed" else "bad"
        events.append({"at": run["finished_at"], "words": run["status"].capitalize(), "tone": tone})
    elif run["status"] == "queued":
        position = run["queue_position"]
        words = run["waiting_for"] or (f"Waiting, {position} before it" if position else "Waiting for a worker")
        events.append({"at": None, "words": words, "tone": ""})
    else:
        events.append({"at": None, "words": f"Drawing, {run['progress']} %", "tone": ""})
    return events
