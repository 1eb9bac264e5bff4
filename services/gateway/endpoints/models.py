"""`/v1/models`: the LoRAs that an account may use, and its own uploads of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from imagineo import errors
from imagineo.ids import is_id, new_id
from imagineo.rpc.client import call_with_stream
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import model_pb2
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query, rendering_models
from services.gateway.body import read_object
from services.gateway.exchange import exchange_of, principal_of
from services.gateway.fields import choice, text
from services.gateway.file_form import MEDIA_TYPE, FileForm, paced
from services.gateway.model_fields import NAMES, SHARINGS, read_change, read_draft
from services.gateway.parts import Parts, json_response
from services.gateway.settings import GatewaySettings
from services.gateway.shapes import text as text_shape
from services.gateway.specification import answer, operation, parameter, shape

#: What stands around a file in a form.
_FORM_BYTES: Final = 131_072
#: The longest that an upload may take.
_UPLOAD_S: Final = 1_800.0
_FILTERS: Final = ("limit", "cursor", "base_model_id", "sharing", "q")


def upload_limit_bytes(settings: GatewaySettings) -> int:
    """The most bytes of an upload's body."""
    return settings.lora_limit_bytes + _FORM_BYTES


async def list_all(parts: Parts, request: Request) -> Response:
    """The account's LoRAs and those that it may use, newest first."""
    asked = request.query_params
    query.check_names(asked, _FILTERS)
    listing = pb.ListLorasRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
        base_model_id=text(0, 64)("base_model_id", asked.get("base_model_id", "")),
        sharing=_sharing(asked),
        text=text(0, 100)("q", asked.get("q", "")),
    )
    try:
        page = await parts.peers.ask(parts.peers.catalog.ListLoras, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    return json_response(
        {"models": await _shown(parts, request, page.loras), "next_cursor": page.next_page_token or None}
    )


async def read(parts: Parts, request: Request) -> Response:
    """One LoRA."""
    names = pb.GetLoraRequest(**_names(request))
    with _absent():
        found = await parts.peers.ask(parts.peers.catalog.GetLora, names)
    return json_response(await _one(parts, request, found.lora))


async def create(parts: Parts, request: Request) -> Response:
    """Take a LoRA's file and have its sample drawn; the file goes on to catalog in pieces."""
    principal = principal_of(request.scope)
    form = FileForm(request.headers.get("content-type", ""), file_field="file", names=NAMES)

    async def requests() -> AsyncIterator[pb.CreateLoraRequest]:
        yield pb.CreateLoraRequest(opening=pb.CreateLoraOpening(organization_id=principal.organization_id))
        async for piece in form.pieces(paced(request.stream())):
            yield pb.CreateLoraRequest(chunk=piece)
        yield pb.CreateLoraRequest(draft=read_draft(form.fields, sample_run_id=new_id("gen")))

    found = await call_with_stream(parts.peers.catalog.CreateLora, requests(), timeout_s=_UPLOAD_S)
    await parts.samples.draw(principal, exchange_of(request.scope), found.lora)
    return json_response(await _one(parts, request, found.lora))


async def change(parts: Parts, request: Request) -> Response:
    """Change what a LoRA is called and who may use it."""
    asked = read_change(await read_object(request))
    names = _names(request)
    asked.organization_id, asked.model_id = names["organization_id"], names["model_id"]
    with _absent():
        found = await parts.peers.ask(parts.peers.catalog.UpdateLora, asked)
    parts.resolver.forget(asked.model_id)
    return json_response(await _one(parts, request, found.lora))


async def delete(parts: Parts, request: Request) -> Response:
    """Delete a LoRA for good."""
    names = _names(request)
    with _absent():
        await parts.peers.ask(parts.peers.catalog.DeleteLora, pb.DeleteLoraRequest(**names))
    parts.resolver.forget(names["model_id"])
    return Response(status_code=204)


def _sharing(asked: QueryParams) -> model_pb2.Sharing.ValueType:
    if "sharing" not in asked:
        return model_pb2.SHARING_UNSPECIFIED
    return SHARINGS[choice(list(SHARINGS))("sharing", asked["sharing"])]


def _names(request: Request) -> dict[str, str]:
    model_id = str(request.path_params["model_id"])
    if not is_id(model_id, "model"):
        raise errors.ModelNotFound
    return {"organization_id": principal_of(request.scope).organization_id, "model_id": model_id}


@contextlib.contextmanager
def _absent() -> Iterator[None]:
    """Say of what catalog does not find that it is a model."""
    try:
        yield
    except errors.NotFound as problem:
        raise errors.ModelNotFound from problem


async def _one(parts: Parts, request: Request, lora: model_pb2.Lora) -> dict[str, Any]:
    return (await _shown(parts, request, [lora]))[0]


async def _shown(parts: Parts, request: Request, loras: Sequence[model_pb2.Lora]) -> list[dict[str, Any]]:
    samples = await parts.samples.find(loras)
    organization_id = principal_of(request.scope).organization_id
    return [
        rendering_models.model(
            lora,
            organization_id,
            is_warm=parts.warmth.is_warm(lora.model_id),
            sample=samples.get(lora.model_id),
            public_url=parts.public_url(request),
            signer=parts.signer,
            now_s=parts.now_s(),
        )
        for lora in loras
    ]


_OWN: Final = {"model_id": "$OWN_MODEL_ID"}

LIST: Final = operation(
    "listModels",
    "List the models available to the account, newest first: its own, the public ones, those shared with it.",
    {200: answer("One page.", shape("Models"))},
    refuses=[400],
    parameters=[
        *query.PAGE_PARAMETERS,
        parameter("base_model_id", "query", "Only those of this base model.", text_shape(0, 64)),
        parameter("sharing", "query", "Only those that are shared so.", {"enum": list(SHARINGS)}),
        parameter(
            *("q", "query", "Only those whose name, description or trigger words hold this, in any case."),
            text_shape(0, 100),
        ),
    ],
)
READ: Final = operation(
    "getModel",
    "Read one model; each read gives a fresh link to its sample picture.",
    {200: answer("The model.", shape("Model"))},
    refuses=[404],
)
CREATE: Final = operation(
    "createModel",
    "Upload a LoRA: a safetensors file in the naming of diffusers, PEFT or kohya-ss, at most 512 MiB unless the "
    "platform's operator sets less, of rank 256 at most. It is checked against its base model before it is kept; a "
    "file that fits nothing of it is refused with the reason. The platform then draws a sample picture, an ordinary "
    "run that counts as one image. Two uploads of an account may be under way at once.",
    {200: answer("The model, ready to draw with.", shape("Model"))},
    refuses=[400, 404, 409, 413, 415],
    body=shape("ModelForm"),
    example={
        "file": "@$LORA_FILE",
        "name": "Coffee Machine LoRA",
        "base_model_id": "$BASE_MODEL_ID",
        "trigger_words": ["coffee machine", "steam"],
        "sharing": "private",
    },
    body_type=MEDIA_TYPE,
)
CHANGE: Final = operation(
    "changeModel",
    "Change a model of yours: what is not named stays. Who may no longer use it is refused within 7 seconds.",
    {200: answer("As it stands now.", shape("Model"))},
    refuses=[400, 404, 413, 415],
    body=shape("ModelChange"),
    example={"description": "Custom LoRA for coffee machines", "sharing": "public"},
    path_values=_OWN,
)
DELETE: Final = operation(
    "deleteModel",
    "Delete a model of yours for good. New runs of it are refused within 7 seconds; runs accepted before can still be "
    "drawn for an hour, then its file is deleted too and they fail with `adapter_missing`.",
    {204: {"description": "It is gone.", "headers": {}}},
    refuses=[404],
    path_values=_OWN,
)
