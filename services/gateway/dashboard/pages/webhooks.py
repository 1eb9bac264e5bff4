"""Webhooks: the endpoints, their secrets shown once, and the log of what was posted to them."""

from __future__ import annotations

import asyncio
from typing import Final

from imagineo.wire.shown_webhook import EVENT_TYPES
from starlette.responses import Response

from services.gateway.dashboard.visit import Visit

_PLACE: Final = "/settings/webhooks"
_WEBHOOK: Final = "/v1/webhooks/{webhook_id}"


async def show_all(visit: Visit) -> Response:
    """The endpoints, and the form for a new one."""
    found = await visit.ask("GET", "/v1/webhooks", query={"limit": "50", "cursor": visit.asked("cursor")})
    return visit.page(
        "webhooks/list.html",
        webhooks=found["webhooks"],
        next_cursor=found["next_cursor"],
        event_types=EVENT_TYPES,
        typed={name: visit.form.text(name) if visit.problem else "" for name in ("url", "description")},
        ticked=visit.form.all("events") if visit.problem else [],
        secret=visit.secret,
    )


async def show(visit: Visit) -> Response:
    """One endpoint with its log."""
    names = {"webhook_id": visit.name("webhook_id")}
    webhook, log = await asyncio.gather(
        visit.ask("GET", _WEBHOOK, names=names),
        visit.ask("GET", f"{_WEBHOOK}/deliveries", names=names, query={"limit": "30", "cursor": visit.asked("cursor")}),
    )
    return visit.page(
        "webhooks/show.html",
        webhook=webhook,
        deliveries=log["deliveries"],
        next_cursor=log["next_cursor"],
        secret=visit.secret,
    )


async def create(visit: Visit) -> Response:
    """Register an endpoint; this answer alone holds its secret."""
    body = {
        "url": visit.form.text("url"),
        "description": visit.form.text("description"),
        "events": visit.form.all("events") or ["*"],
    }
    visit.secret = await visit.ask("POST", "/v1/webhooks", body=body)
    return await show_all(visit)


async def switch(visit: Visit) -> Response:
    """Switch it on or off."""
    names = {"webhook_id": visit.name("webhook_id")}
    await visit.ask("PATCH", _WEBHOOK, names=names, body={"active": visit.form.text("active") == "true"})
    return visit.go(f"{_PLACE}/{names['webhook_id']}", "webhook-changed")


async def rotate(visit: Visit) -> Response:
    """A new secret, shown this once; the old one signs as well for a day."""
    names = {"webhook_id": visit.name("webhook_id")}
    visit.secret = await visit.ask("POST", f"{_WEBHOOK}/rotate-secret", names=names, body={})
    return await show(visit)


async def redeliver(visit: Visit) -> Response:
    """Post a delivery again."""
    names = {"webhook_id": visit.name("webhook_id"), "delivery_id": visit.name("delivery_id")}
    await visit.ask("POST", f"{_WEBHOOK}/deliveries/{{delivery_id}}/redeliver", names=names)
    return visit.go(f"{_PLACE}/{names['webhook_id']}", "redelivered")


async def delete(visit: Visit) -> Response:
    """Remove it with its log."""
    await visit.ask("DELETE", _WEBHOOK, names={"webhook_id": visit.name("webhook_id")})
    return visit.go(_PLACE, "webhook-deleted")
