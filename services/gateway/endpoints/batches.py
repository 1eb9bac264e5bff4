"""`/v1/batches`: submit many runs as one, list, read, cancel. Status holds the truth; this shows it."""

from __future__ import annotations

from typing import Any, Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import batch_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query, rendering_batch
from services.gateway.batch_admission import BatchRequest, digest
from services.gateway.batch_body import JSON_LINES, MAX_ITEMS, read_batch
from services.gateway.body import media_type
from services.gateway.exchange import exchange_of, principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import MAX_CANCEL_AFTER_S, read_preferences
from services.gateway.settings import GatewaySettings
from services.gateway.specification import answer, operation, parameter, shape

#: Status tells a thousand items to stop for a part of this; what is left then follows by itself.
_CANCEL_TIMEOUT_S: Final = 6.0


def limit(settings: GatewaySettings) -> int:
    """The most bytes of a batch's body."""
    return settings.batch_body_limit_bytes


async def create(parts: Parts, request: Request) -> Response:
    """Accept a batch, whole or not at all."""
    async with parts.large_bodies.reading(request.headers):
        asked = await _read(parts, request)
        accepted = await parts.batch_admission.submit(request.headers, exchange_of(request.scope), asked)
    return json_response(rendering_batch.submitted(accepted, parts.public_url(request)))


async def _read(parts: Parts, request: Request) -> BatchRequest | errors.Refused:
    """What is asked for; or what is wrong with it, to be said once it is known who asks."""
    try:
        kind = media_type(request.headers)
        preferences = read_preferences(request.headers)
        if preferences.wait_s is not None:
            raise errors.InvalidParameter.of("Prefer", "left out: follow a batch at its urls.self")
        body = await request.body()
        wanted = await read_batch(kind, body, parts.settings.reach)
        return BatchRequest(wanted, preferences, digest(kind, body))
    except errors.Refused as refusal:
        return refusal


async def list_all(parts: Parts, request: Request) -> Response:
    """The account's batches, newest first."""
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor"))
    listing = pb.ListBatchesRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
    )
    try:
        page = await parts.peers.ask(parts.peers.batches.ListBatches, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    public_url = parts.public_url(request)
    shown = [rendering_batch.batch(found, public_url) for found in page.batches]
    return json_response({"batches": shown, "next_cursor": page.next_page_token or None})


async def read(parts: Parts, request: Request) -> Response:
    """One batch."""
    names = pb.GetBatchRequest(**names_of(request))
    found = await parts.peers.ask(parts.peers.batches.GetBatch, names)
    return json_response(rendering_batch.batch(found.batch, parts.public_url(request)))


async def cancel(parts: Parts, request: Request) -> Response:
    """Stop one batch; a terminal one is shown as it is."""
    names = pb.CancelBatchRequest(**names_of(request))
    found = await parts.peers.ask(parts.peers.batches.CancelBatch, names, timeout_s=_CANCEL_TIMEOUT_S)
    return json_response(rendering_batch.batch(found.batch, parts.public_url(request)))


def names_of(request: Request) -> dict[str, Any]:
    """The batch that the path names, and who asks for it.

    Raises:
        NotFound: if it cannot be a batch's id.
    """
    batch_id = str(request.path_params["batch_id"])
    if not is_id(batch_id, "batch"):
        raise errors.NotFound("There is no such batch.")
    return {"organization_id": principal_of(request.scope).organization_id, "batch_id": batch_id}


_LINES: Final = (
    '{"positive_prompt": "A blue teapot", "model_id": "$MODEL_ID"}\n'
    '{"positive_prompt": "A red teapot", "model_id": "$MODEL_ID", "seed": 7}\n'
)


def _with_lines(described: dict[str, Any]) -> dict[str, Any]:
    """The same operation, which takes JSON lines as well."""
    text = {"type": "string", "description": "One body of POST /v1/generate on each line."}
    described["requestBody"]["content"][JSON_LINES[0]] = {"schema": text, "example": _LINES}
    return described


CREATE: Final = _with_lines(
    operation(
        "createBatch",
        f"Queue up to {MAX_ITEMS:,} images as one batch: a list of items, a sweep, or JSON lines. All or none.",
        {
            200: answer(
                "Accepted: every item is a generation from now on, and waits for its turn in the batch. A body of at "
                "most 4 MiB is taken. What is wrong is named by its place: `items[17].guidance`, `sweep.seeds[3]`, "
                "`line 18: guidance`; then nothing is stored, charged or queued.",
                shape("BatchSubmitted"),
            )
        },
        refuses=[400, 404, 409, 413, 415, 422],
        parameters=[
            parameter(
                "Idempotency-Key",
                "header",
                "Within 24 hours the same key and body get the same answer, and nothing new is made.",
                {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            ),
            parameter(
                "Cancel-After",
                "header",
                "Seconds from now after which items that have not started expire.",
                {"type": "integer", "minimum": 1, "maximum": MAX_CANCEL_AFTER_S},
            ),
        ],
        body=shape("BatchSubmission"),
        example={
            "name": "teapots",
            "sweep": {
                "positive_prompts": ["A blue teapot", "A red teapot"],
                "lora_weights": [0.5, 1.0],
                "seeds": [1, 2],
            },
            "defaults": {"model_id": "$MODEL_ID", "width": 256, "height": 256},
        },
    )
)
LIST: Final = operation(
    "listBatches",
    "List batches, newest first.",
    {200: answer("One page.", shape("Batches"))},
    refuses=[400],
    parameters=query.PAGE_PARAMETERS,
)
READ: Final = operation(
    "getBatch",
    "Read one batch: its progress, its items by status and the first errors.",
    {200: answer("As it stands.", shape("Batch"))},
    refuses=[404],
)
CANCEL: Final = operation(
    "cancelBatch",
    "Stop one batch: items that wait at once, those that run at their next step. Idempotent.",
    {200: answer("As it stands.", shape("Batch"))},
    refuses=[404],
    path_values={"batch_id": "$UNWANTED_BATCH_ID"},
)
