"""Models: the cards, one LoRA with its check report and sharing, and the upload, which a script sends to `/v1`."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.responses import Response

from services.gateway.dashboard import pictures
from services.gateway.dashboard.visit import Visit

_PAGE: Final = "30"
_MODEL: Final = "/v1/models/{model_id}"
SHARING: Final = ("private", "organizations", "public")


async def show_all(visit: Visit) -> Response:
    """The cards, searched and paged."""
    asked = {name: visit.asked(name) for name in ("q", "sharing", "cursor")}
    found, bases, recent = await asyncio.gather(
        visit.ask("GET", "/v1/models", query={"limit": _PAGE, **asked}),
        visit.ask("GET", "/v1/base-models"),
        visit.ask("GET", "/v1/generations", query={"limit": "50", "status": "completed"}),
    )
    drawn = pictures.last_drawn(recent["generations"])
    return visit.page(
        "models/list.html",
        models=[{**model, "picture": pictures.of_model(model, drawn)} for model in found["models"]],
        bases=[
            {**base, "picture": pictures.of_base(base["slug"]) or drawn.get(base["id"], "")}
            for base in bases["base_models"]
        ],
        next_cursor=found["next_cursor"],
        asked=asked,
        sharings=SHARING,
        limit_bytes=visit.parts.settings.lora_limit_bytes,
    )


async def show(visit: Visit) -> Response:
    """One LoRA."""
    names = {"model_id": visit.name("model_id")}
    model, bases, runs = await asyncio.gather(
        visit.ask("GET", _MODEL, names=names),
        visit.ask("GET", "/v1/base-models"),
        visit.ask("GET", "/v1/generations", query={"limit": "12", "status": "completed", "model": names["model_id"]}),
    )
    return visit.page(
        "models/show.html",
        model=model,
        picture=pictures.of_model(model, pictures.last_drawn(runs["generations"])),
        base=next((base for base in bases["base_models"] if base["id"] == model["base_model_id"]), None),
        runs=runs["generations"],
        typed=_typed(visit, model),
        sharings=SHARING,
    )


async def change(visit: Visit) -> Response:
    """Save what the form says."""
    names = {"model_id": visit.name("model_id")}
    form = visit.form
    body: dict[str, Any] = {
        "name": form.text("name"),
        "description": form.raw("description"),
        "trigger_words": _words(form.raw("trigger_words")),
        "sharing": form.text("sharing"),
    }
    if body["sharing"] == "organizations":
        body["shared_with"] = form.lines("shared_with")
    await visit.ask("PATCH", _MODEL, names=names, body=body)
    return visit.go(f"/models/{names['model_id']}", "model-changed")


async def delete(visit: Visit) -> Response:
    """Delete it for good."""
    await visit.ask("DELETE", _MODEL, names={"model_id": visit.name("model_id")})
    return visit.go("/models", "model-deleted")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _typed(visit: Visit, model: dict[str, Any]) -> dict[str, str]:
    """What stands in the form: what was refused, else what is stored."""
    if visit.problem is not None:
        names = ("name", "description", "trigger_words", "sharing", "shared_with")
        return {name: visit.form.raw(name) for name in names}
    return {
        "name": model["name"],
        "description": model["description"],
        "trigger_words": ", ".join(model["trigger_words"]),
        "sharing": model["sharing"],
        "shared_with": "\n".join(model["shared_with"] or ()),
    }
