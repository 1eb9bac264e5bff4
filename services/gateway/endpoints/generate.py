"""`POST /v1/generate`: reads the request, hands it to admission, and waits for the picture where that is preferred."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import grpc
from imagineo import errors
from imagineo.jobs.states import TERMINAL
from imagineo.rpc.client import request_metadata
from imagineo.rpc.status import error_of
from imagineo.v1 import generation_pb2, generation_service_pb2
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import admission, rendering
from services.gateway.exchange import exchange_of, principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import MAX_CANCEL_AFTER_S, MAX_WAIT_S, read_preferences
from services.gateway.specification import answer, operation, parameter, shape
from services.gateway.submission import read_submission

_WATCH_AGAIN_S: Final = 0.2


async def submit(parts: Parts, request: Request) -> Response:
    """Accept one run."""
    exchange = exchange_of(request.scope)
    asked = await _read(request)
    accepted = await parts.admission.submit(request.headers, exchange, asked)
    public_url = parts.public_url(request)
    wait_s = None if isinstance(asked, errors.Refused) else asked.preferences.wait_s
    if wait_s is not None:
        run = await _wait(parts, principal_of(request.scope).organization_id, accepted.run_id, wait_s)
        if run is not None:
            shown = rendering.generation(run, public_url, parts.signer, parts.now_s())
            return json_response(shown, headers={"Preference-Applied": f"wait={wait_s}"})
    return json_response(rendering.submitted(accepted.run_id, accepted.seed, accepted.estimated_time_s, public_url))


async def _read(request: Request) -> admission.Request | errors.Refused:
    """What is asked for; or what is wrong with it, to be said once it is known who asks."""
    try:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise errors.UnsupportedMediaType("The body's content type must be application/json.")
        preferences = read_preferences(request.headers)
        body = await request.body()
        return admission.Request(read_submission(body), preferences, body)
    except errors.Refused as refusal:
        return refusal


async def _wait(parts: Parts, organization_id: str, run_id: str, wait_s: int) -> generation_pb2.Generation | None:
    """The run once terminal, or as it stands after `wait_s` seconds or at a drain; None: nothing could be learnt.

    The run is accepted: a watch that fails takes nothing from it and is begun again.
    """
    latest: generation_pb2.Generation | None = None

    async def watch() -> None:
        nonlocal latest
        names = generation_service_pb2.WatchGenerationRequest(organization_id=organization_id, run_id=run_id)
        while latest is None or latest.status not in TERMINAL:
            try:
                changes = parts.peers.status.WatchGeneration(names, timeout=wait_s + 1, metadata=request_metadata())
                async for change in changes:
                    latest = change.generation
            except grpc.aio.AioRpcError as failure:
                if not isinstance(error_of(failure), errors.Unavailable):
                    return
            await asyncio.sleep(_WATCH_AGAIN_S)  # status ended, and will be back

    watching = asyncio.create_task(watch())
    draining = asyncio.create_task(parts.draining.wait())
    try:
        await asyncio.wait({watching, draining}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        draining.cancel()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    return latest


SUBMIT: Final = operation(
    "generate",
    "Queue one image.",
    {
        200: answer(
            "Accepted: it will end in exactly one terminal status. With `Prefer: wait=N` the generation as it stands.",
            {"anyOf": [shape("Submitted"), shape("Generation")]},
            headers=["Preference-Applied"],
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
            "Prefer",
            "header",
            f"`wait=N`: hold the answer until the run is terminal, or N seconds (1 to {MAX_WAIT_S}).",
            {"type": "string"},
        ),
        parameter(
            "Cancel-After",
            "header",
            "Seconds from now after which a run that has not started expires.",
            {"type": "integer", "minimum": 1, "maximum": MAX_CANCEL_AFTER_S},
        ),
    ],
    body=shape("Submission"),
)
