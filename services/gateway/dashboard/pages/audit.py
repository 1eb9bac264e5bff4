"""The audit log, for owners: who did what, when, and from where."""

from __future__ import annotations

from starlette.responses import Response

from services.gateway.dashboard.visit import Visit


async def show(visit: Visit) -> Response:
    """The page."""
    asked = {name: visit.asked(name) for name in ("cursor", "action")}
    found = await visit.ask("GET", "/v1/organization/audit-log", query={"limit": "50", **asked})
    return visit.page(
        "audit/show.html",
        entries=[
            {
                **entry,
                "words": entry["action"].replace(".", " ").replace("_", " "),
                "actor": entry["email"] or entry["key_id"] or "an operator",
            }
            for entry in found["entries"]
        ],
        next_cursor=found["next_cursor"],
        action=asked["action"],
    )
