"""`/v1/models`: the LoRAs that an account may use."""

from __future__ import annotations

from typing import Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import catalog_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query, rendering
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, shape


async def list_all(parts: Parts, request: Request) -> Response:
    """The account's LoRAs and the shared ones, newest first."""
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor"))
    listing = pb.ListLorasRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
    )
    try:
        page = await parts.peers.ask(parts.peers.catalog.ListLoras, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    models = [rendering.model(lora) for lora in page.loras]
    return json_response({"models": models, "next_cursor": page.next_page_token or None})


async def read(parts: Parts, request: Request) -> Response:
    """One LoRA."""
    model_id = str(request.path_params["model_id"])
    if not is_id(model_id, "model"):
        raise errors.ModelNotFound
    names = pb.GetLoraRequest(organization_id=principal_of(request.scope).organization_id, model_id=model_id)
    try:
        found = await parts.peers.ask(parts.peers.catalog.GetLora, names)
    except errors.NotFound as problem:
        raise errors.ModelNotFound from problem
    return json_response(rendering.model(found.lora))


LIST: Final = operation(
    "listModels",
    "List the models available to the account, newest first.",
    {200: answer("One page.", shape("Models"))},
    refuses=[400],
    parameters=query.PAGE_PARAMETERS,
)
READ: Final = operation("getModel", "Read one model.", {200: answer("The model.", shape("Model"))}, refuses=[404])
