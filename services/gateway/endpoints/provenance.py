"""How a picture came about: `/v1/generations/{id}/manifest`; and whether it comes about again: `…/replay`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from imagineo import errors
from imagineo.egress import urls
from imagineo.v1 import account_pb2
from imagineo.v1 import generation_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import admission, query
from services.gateway.endpoints import beginnings, generate
from services.gateway.endpoints.generations import run_id_of
from services.gateway.exchange import exchange_of, principal_of
from services.gateway.fields import Check
from services.gateway.manifest import manifest
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import read_preferences
from services.gateway.redrawing import redrawing_of, wanted_again
from services.gateway.specification import answer, operation, shape
from services.gateway.submission import checked, decode, fields_within
from services.gateway.together import Several

REPLAY_FIELDS: Final = ("webhook_url", "metadata")


async def read(parts: Parts, request: Request) -> Response:
    """The manifest of one completed run."""
    query.check_names(request.query_params, ())
    names = pb.GetProvenanceRequest(
        organization_id=principal_of(request.scope).organization_id, run_id=run_id_of(request)
    )
    found = await parts.peers.ask(parts.peers.status.GetProvenance, names)
    return json_response(manifest(found.generation, found.provenance))


async def replay(parts: Parts, request: Request) -> Response:
    """Draw one completed run again."""
    exchange = exchange_of(request.scope)
    try:
        run_id = run_id_of(request)
        preferences = read_preferences(request.headers)
        body = await request.body()
        given = _given(body, parts.settings.reach)
    except errors.Refused as refusal:
        await parts.together.submit(request.headers, exchange, refusal)
        raise
    told = f"POST {request.url.path}\n".encode() + body

    async def make(principal: account_pb2.Principal) -> Sequence[admission.Request]:
        names = pb.GetProvenanceRequest(organization_id=principal.organization_id, run_id=run_id)
        found = await parts.peers.ask(parts.peers.status.GetProvenance, names)
        redrawing = redrawing_of(found.generation, found.provenance)
        wanted = wanted_again(redrawing.parameters, given)
        return [admission.Request(wanted, preferences, told, redrawing=redrawing)]

    accepted = await parts.together.submit(request.headers, exchange, Several(1, preferences, told, make))
    return await beginnings.answered(parts, request, accepted, preferences)


def _given(body: bytes, reach: urls.Reach) -> dict[str, Any]:
    """The body's fields; none at all is fine."""
    if not body.strip():
        return {}
    document = decode(body)
    if not isinstance(document, dict):
        raise errors.InvalidJson("The body must be a JSON object, or absent.")
    table = fields_within(reach)
    checks: dict[str, Check] = {name: table[name] for name in REPLAY_FIELDS}
    return checked(document, checks, {}, within="")


READ: Final = operation(
    "getManifest",
    "How one picture came about: parameters, digests of base model, LoRAs and image, number type, library versions.",
    {200: answer("The manifest of a completed generation.", shape("Manifest"))},
    refuses=[400, 404, 409],
)
REPLAY: Final = operation(
    "replayGeneration",
    "Draw one completed generation again with the very same parameters. Once it is completed, its `replay` says "
    "whether the picture is the same: `match`, `near` or `differs`.",
    {
        200: answer(
            "Accepted as a generation of its own. With `Prefer: wait=N` the generation as it stands.",
            {"anyOf": [shape("Submitted"), shape("Generation")]},
            headers=["Preference-Applied"],
        )
    },
    refuses=[400, 404, 409, 413, 422],
    parameters=generate.SUBMIT["parameters"],
    body=shape("ReplayRequest"),
    body_required=False,
    example={"metadata": {"why": "proof"}},
)
