"""`/v1/organization/audit-log`: what happened in the organization, for its owners."""

from __future__ import annotations

from typing import Final

from imagineo import errors
from imagineo.v1 import account_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import members, query
from services.gateway.exchange import principal_of
from services.gateway.fields import text
from services.gateway.parts import Parts, json_response
from services.gateway.shapes import text as text_shape
from services.gateway.specification import answer, operation, parameter, shape


async def list_all(parts: Parts, request: Request) -> Response:
    """The log, newest first."""
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor", "action"))
    listing = pb.ListAuditEntriesRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
        action=text(0, 64)("action", asked.get("action", "")),
    )
    try:
        page = await parts.peers.ask(parts.peers.accounts.ListAuditEntries, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    shown = [members.entry(one) for one in page.entries]
    return json_response({"entries": shown, "next_cursor": page.next_page_token or None})


LIST: Final = operation(
    "listAuditEntries",
    "List what happened: keys, roles, invitations, plans and log-ins, the failed ones included; newest first. Kept for "
    "400 days.",
    {200: answer("One page.", shape("AuditLog"))},
    refuses=[400],
    parameters=[
        *query.PAGE_PARAMETERS,
        parameter("action", "query", "Only entries with this action.", text_shape(0, 64)),
    ],
)
