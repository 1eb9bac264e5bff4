"""The audit log, for owners: who did what, when, and from where."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from services.gateway.dashboard.visit import Visit

_MANY_SCOPES: Final = 4


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
                "details": [_told(name, value) for name, value in entry["details"].items()],
                "actor": entry["email"] or entry["key_id"] or "an operator",
            }
            for entry in found["entries"]
        ],
        next_cursor=found["next_cursor"],
        action=asked["action"],
    )


def _told(name: str, value: str) -> str:
    """A detail in a few words; many scopes are counted."""
    words = value.split()
    if name == "scopes" and len(words) > _MANY_SCOPES:
        return f"{len(words)} scopes"
    return f"{name} {value}"
