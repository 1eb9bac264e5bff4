"""The playground: its form, the models with their pictures, and the last ones drawn. A script submits and follows."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.responses import Response

from services.gateway.dashboard import pictures
from services.gateway.dashboard.visit import Visit

_MODELS: Final = "100"
_RECENT: Final = "24"
#: What somebody may begin with who has drawn nothing yet.
TRIES: Final = ("red apple", "sunflower", "rocket", "dog face")
SIZES: Final = ((256, 256), (512, 512), (768, 768), (1024, 1024), (768, 512), (512, 768), (1024, 576), (576, 1024))


async def show(visit: Visit) -> Response:
    """The page; `?from=gen_…` begins with that run's parameters, `?model=…` with that model."""
    bases, models, recent, begun = await asyncio.gather(
        visit.ask("GET", "/v1/base-models"),
        visit.ask("GET", "/v1/models", query={"limit": _MODELS}),
        visit.ask("GET", "/v1/generations", query={"limit": _RECENT}),
        _begun(visit),
    )
    choices = pictures.choices(bases["base_models"], models["models"], recent["generations"])
    chosen = (begun or {}).get("model_id") or visit.asked("model")
    known = {choice["id"] for choice in choices}
    return visit.page(
        "playground/show.html",
        choices=choices,
        bases={base["id"]: base for base in bases["base_models"]},
        chosen=chosen if chosen in known else (choices[0]["id"] if choices else ""),
        begun=begun or {},
        recent=[run for run in recent["generations"] if run["image_url"]][:12],
        sizes=SIZES,
        tries=TRIES,
        formats=("png", "webp", "jpeg"),
        base_url=visit.parts.public_url(visit.request),
    )


async def _begun(visit: Visit) -> dict[str, Any] | None:
    run_id = visit.asked("from")
    if not run_id:
        return None
    run = await visit.ask("GET", "/v1/generations/{run_id}", names={"run_id": run_id})
    found: dict[str, Any] = run["parameters"]
    return found
