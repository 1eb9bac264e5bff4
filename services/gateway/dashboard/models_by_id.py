"""The names of models by their ids, for pages that show runs and usage."""

from __future__ import annotations

import asyncio

from services.gateway.dashboard.visit import Visit


async def names_of_models(visit: Visit) -> dict[str, str]:
    """The first hundred LoRAs and all base models that the organization may use; others show as their ids."""
    if not visit.may("models:read"):
        return {}
    models, bases = await asyncio.gather(
        visit.ask("GET", "/v1/models", query={"limit": "100"}), visit.ask("GET", "/v1/base-models")
    )
    return {one["id"]: one["name"] for one in (*models["models"], *bases["base_models"])}
