"""Plan and organization: the limits in force, the name, and what image files tell."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from services.gateway.dashboard.visit import Visit


async def show(visit: Visit) -> Response:
    """The page."""
    organization, limits = await asyncio.gather(visit.ask("GET", "/v1/organization"), visit.ask("GET", "/v1/limits"))
    name = visit.form.text("name") if visit.problem else organization["name"]
    return visit.page("plan/show.html", organization=organization, limits=limits, name=name)


async def change(visit: Visit) -> Response:
    """Save what the form says."""
    body = {"name": visit.form.text("name"), "embed_parameters": visit.form.text("embed_parameters") == "on"}
    await visit.ask("PATCH", "/v1/organization", body=body)
    return visit.go("/settings/plan", "organization-changed")
