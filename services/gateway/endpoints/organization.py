"""`/v1/organization`: who the key belongs to, and what the account has set."""

from __future__ import annotations

from typing import Final

from imagineo.v1 import auth_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import accounts, query
from services.gateway.body import read_object
from services.gateway.clients import actor_of
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, shape


async def read(parts: Parts, request: Request) -> Response:
    """The organization as it is."""
    query.check_names(request.query_params, ())
    asked = pb.GetUsageRequest(organization_id=principal_of(request.scope).organization_id)
    found = await parts.peers.ask(parts.peers.auth.GetUsage, asked)
    return json_response(accounts.organization(found.organization))


async def change(parts: Parts, request: Request) -> Response:
    """Rename it or change its settings; what is not named stays."""
    wanted = accounts.read_organization_change(await read_object(request))
    asked = pb.UpdateOrganizationRequest(
        organization_id=principal_of(request.scope).organization_id,
        name=wanted.get("name", ""),
        actor=actor_of(parts.settings, request),
    )
    if "embed_parameters" in wanted:
        asked.omit_provenance = not wanted["embed_parameters"]
    changed = await parts.peers.ask(parts.peers.auth.UpdateOrganization, asked)
    return json_response(accounts.organization(changed.organization))


READ: Final = operation(
    "getOrganization", "Read the organization.", {200: answer("It.", shape("Organization"))}, refuses=[400]
)
CHANGE: Final = operation(
    "changeOrganization",
    "Rename the organization, or say whether image files carry their parameters. What is not named stays.",
    {200: answer("As it is now.", shape("Organization"))},
    refuses=[400, 413, 415],
    body=shape("OrganizationChange"),
    example={"name": "Studio Nord", "embed_parameters": True},
)
