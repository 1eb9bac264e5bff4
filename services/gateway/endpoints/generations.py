"""`/v1/generations`: list, read, cancel, delete. Status holds the truth; this shows it."""

from __future__ import annotations

from typing import Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import generation_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query, rendering
from services.gateway.exchange import exchange_of, principal_of
from services.gateway.fields import text
from services.gateway.parts import Parts, json_response
from services.gateway.shapes import text as text_shape
from services.gateway.specification import answer, operation, parameter, shape

_FILTERS: Final = ("limit", "cursor", "status", "model", "batch_id", "created_after", "created_before")


async def list_all(parts: Parts, request: Request) -> Response:
    """The account's runs, newest first."""
    asked = request.query_params
    query.check_names(asked, _FILTERS)
    listing = pb.ListGenerationsRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
        statuses=[rendering.STATUSES[word] for word in query.words(asked, "status", rendering.STATUSES)],
        model_id=text(0, 64)("model", asked.get("model", "")),
        batch_id=text(0, 64)("batch_id", asked.get("batch_id", "")),
        created_after=query.moment(asked, "created_after"),
        created_before=query.moment(asked, "created_before"),
    )
    try:
        page = await parts.peers.ask(parts.peers.status.ListGenerations, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    public_url, now_s = parts.public_url(request), parts.now_s()
    runs = [rendering.generation(run, public_url, parts.signer, now_s) for run in page.generations]
    return json_response({"generations": runs, "next_cursor": page.next_page_token or None})


async def read(parts: Parts, request: Request) -> Response:
    """One run."""
    names = pb.GetGenerationRequest(
        organization_id=principal_of(request.scope).organization_id, run_id=run_id_of(request)
    )
    found = await parts.peers.ask(parts.peers.status.GetGeneration, names)
    return json_response(rendering.generation(found.generation, parts.public_url(request), parts.signer, parts.now_s()))


async def cancel(parts: Parts, request: Request) -> Response:
    """Stop one run; a terminal one is shown as it is."""
    names = pb.CancelGenerationRequest(
        organization_id=principal_of(request.scope).organization_id, run_id=run_id_of(request)
    )
    found = await parts.peers.ask(parts.peers.status.CancelGeneration, names)
    return json_response(rendering.generation(found.generation, parts.public_url(request), parts.signer, parts.now_s()))


async def delete(parts: Parts, request: Request) -> Response:
    """Erase one run for good."""
    names = pb.DeleteGenerationRequest(
        organization_id=principal_of(request.scope).organization_id, run_id=run_id_of(request)
    )
    await parts.peers.ask(parts.peers.status.DeleteGeneration, names)
    return Response(status_code=204)


def run_id_of(request: Request) -> str:
    """The run that the path names.

    Raises:
        NotFound: if it cannot be a run's id.
    """
    run_id = str(request.path_params["run_id"])
    if not is_id(run_id, "gen"):
        raise errors.NotFound("There is no such generation.")
    exchange_of(request.scope).run_id = run_id
    return run_id


_TIME: Final = {"type": "string", "format": "date-time"}

LIST: Final = operation(
    "listGenerations",
    "List generations, newest first.",
    {200: answer("One page.", shape("Generations"))},
    refuses=[400],
    parameters=[
        *query.PAGE_PARAMETERS,
        parameter(
            "status",
            "query",
            "Only runs in one of these, repeated or with commas between.",
            {"type": "array", "items": {"enum": list(rendering.STATUSES)}},
        ),
        parameter("model", "query", "Only runs asked with this model_id.", text_shape(0, 64)),
        parameter("batch_id", "query", "Only items of this batch.", text_shape(0, 64)),
        parameter("created_after", "query", "Only later runs.", _TIME),
        parameter("created_before", "query", "Only earlier runs.", _TIME),
    ],
)
READ: Final = operation(
    "getGeneration",
    "Read one generation; each read gives a fresh image URL.",
    {200: answer("As it stands.", shape("Generation"))},
    refuses=[404],
)
CANCEL: Final = operation(
    "cancelGeneration",
    "Stop one generation: at once where it is queued, at the next step where it runs. Idempotent.",
    {200: answer("As it stands.", shape("Generation"))},
    refuses=[404],
)
DELETE: Final = operation(
    "deleteGeneration",
    "Erase one generation for good: it is canceled if it is not over, and its image and all that is stored of it go.",
    {204: {"description": "It is gone: nobody can read it any more.", "headers": {}}},
    refuses=[404],
    path_values={"run_id": "$UNWANTED_RUN_ID"},
)
