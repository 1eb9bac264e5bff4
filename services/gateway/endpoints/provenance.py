"""`/v1/generations/{id}/manifest`: how a picture came about, in full, so that it can be drawn again and be trusted."""

from __future__ import annotations

from typing import Final

from imagineo.v1 import generation_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query
from services.gateway.endpoints.generations import run_id_of
from services.gateway.exchange import principal_of
from services.gateway.manifest import manifest
from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, shape


async def read(parts: Parts, request: Request) -> Response:
    """The manifest of one completed run."""
    query.check_names(request.query_params, ())
    names = pb.GetProvenanceRequest(
        organization_id=principal_of(request.scope).organization_id, run_id=run_id_of(request)
    )
    found = await parts.peers.ask(parts.peers.status.GetProvenance, names)
    return json_response(manifest(found.generation, found.provenance))


READ: Final = operation(
    "getManifest",
    "How one picture came about: parameters, digests of base model, LoRAs and image, number type, library versions.",
    {200: answer("The manifest of a completed generation.", shape("Manifest"))},
    refuses=[400, 404, 409],
)
