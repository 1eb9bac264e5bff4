"""`/v1/base-models`: what LoRAs stand on, with sizes, steps and schedulers."""

from __future__ import annotations

from typing import Final

from imagineo.v1 import catalog_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query, rendering
from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, shape


async def list_all(parts: Parts, request: Request) -> Response:
    """All base models; they are few, so there is one page."""
    query.check_names(request.query_params, ())
    found = await parts.peers.ask(parts.peers.catalog.ListBaseModels, pb.ListBaseModelsRequest())
    shown = [rendering.base_model(base) for base in found.base_models]
    return json_response({"base_models": shown, "next_cursor": None})


LIST: Final = operation(
    "listBaseModels",
    "List the base models.",
    {200: answer("All of them.", shape("BaseModels"))},
    refuses=[400],
)
