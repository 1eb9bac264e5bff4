"""The audit log, for owners: who did what, when, and from where."""

from __future__ import annotations

from typing import Any

from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import member_pb2
from starlette.responses import Response

from services.gateway.dashboard.visit import Visit
from services.gateway.rendering import moment


async def show(visit: Visit) -> Response:
    """The page."""
    asked = pb.ListAuditEntriesRequest(
        organization_id=visit.who.organization_id,
        page_size=50,
        page_token=visit.asked("cursor"),
        action=visit.asked("action"),
    )
    found = await visit.parts.peers.ask(visit.parts.peers.accounts.ListAuditEntries, asked)
    return visit.page(
        "audit/show.html",
        entries=[_entry(one) for one in found.entries],
        next_cursor=found.next_page_token,
        action=visit.asked("action"),
    )


def _entry(entry: member_pb2.AuditEntry) -> dict[str, Any]:
    return {
        "at": moment(entry.occurred_at),
        "action": entry.action,
        "words": entry.action.replace(".", " ").replace("_", " "),
        "actor": entry.email or entry.key_id or "an operator",
        "address": entry.address,
        "subject_id": entry.subject_id,
        "details": sorted(entry.details.items()),
    }
