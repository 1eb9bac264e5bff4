"""`POST /v1/images/generations`: the OpenAI Images shape in front of the same queue.

It holds the request until its runs end; a client that goes takes its runs with it. Errors are in OpenAI's shape.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Final

from imagineo import errors
from imagineo.v1 import generation_pb2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.gateway import admission, rendering
from services.gateway.body import require_json
from services.gateway.errors import render_openai
from services.gateway.exchange import Holder, exchange_of, holder_of
from services.gateway.openai_shape import ImagesWanted, read_images
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import Preferences
from services.gateway.specification import answer, operation, shape
from services.gateway.together import several_of

#: OpenAI's clients give up after ten minutes by default.
WAIT_S: Final = 540.0

#: What our fields are called in this shape.
_NAMES: Final = {"positive_prompt": "prompt", "model_id": "model", "width": "size", "height": "size"}


async def create(parts: Parts, request: Request) -> Response:
    """Draw some images and answer with them."""
    try:
        return await _create(parts, request)
    except errors.ImagineoError as problem:
        if (param := problem.metadata.get("param")) in _NAMES:
            problem.metadata["param"] = _NAMES[param]
        refused = render_openai(problem, exchange_of(request.scope))
        if isinstance(problem, (errors.FailedPrecondition, errors.Internal)):
            refused.headers["x-should-retry"] = "false"  # the clients would draw once more
        return refused


async def _create(parts: Parts, request: Request) -> Response:
    asked: ImagesWanted | errors.Refused
    try:
        require_json(request.headers)
        body = await request.body()
        asked = read_images(body)
        requests = [admission.Request(wanted, Preferences(), body) for wanted in asked.submissions]
    except errors.Refused as refusal:
        await parts.together.submit(request.headers, exchange_of(request.scope), refusal)
        raise
    accepted = await parts.together.submit(request.headers, exchange_of(request.scope), several_of(requests))
    run_ids = [one.run_id for one in accepted]
    holder = holder_of(request.scope)
    try:
        runs = await _drawn(parts, request, holder, run_ids)
    except BaseException:
        for run_id in run_ids:
            parts.retraction.withdraw(holder.organization_id, run_id)
        raise
    shown = [await _shown(parts, request, run, is_base64=asked.is_base64) for run in runs]
    parameters = runs[0].parameters
    size = f"{parameters.width}x{parameters.height}"
    return json_response(
        {"created": int(parts.now_s()), "data": shown, "output_format": asked.output_format, "size": size}
    )


async def _drawn(
    parts: Parts, request: Request, holder: Holder, run_ids: Sequence[str]
) -> list[generation_pb2.Generation]:
    """The completed runs, in order.

    Raises:
        ClientDisconnect: if the client goes first.
        Refused: once the key or session is.
        ImagineoError: if a run ends otherwise, or does not end in time.
    """
    settling: asyncio.Future[list[generation_pb2.Generation | None]] = asyncio.gather(
        *(parts.following.settled(holder, run_id, WAIT_S, tells_refusal=True) for run_id in run_ids)
    )
    leaving = asyncio.create_task(_left(request))
    try:
        both: set[asyncio.Future[Any]] = {settling, leaving}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not settling.done():
            raise ClientDisconnect
        return [_completed(run) for run in settling.result()]
    finally:
        settling.cancel()
        leaving.cancel()
        await asyncio.gather(settling, leaving, return_exceptions=True)


def _completed(run: generation_pb2.Generation | None) -> generation_pb2.Generation:
    if run is not None and run.status == generation_pb2.STATUS_COMPLETED:
        return run
    if run is not None and run.status == generation_pb2.STATUS_FAILED:
        raise errors.Internal(run.error.message)
    if run is not None and run.status in (generation_pb2.STATUS_CANCELED, generation_pb2.STATUS_CANCELING):
        raise errors.FailedPrecondition(f"The generation {run.run_id} was canceled.")
    raise errors.Unavailable("The images were not drawn in time; the runs are canceled.")


async def _shown(parts: Parts, request: Request, run: generation_pb2.Generation, *, is_base64: bool) -> dict[str, Any]:
    own = {"run_id": run.run_id, "seed": run.parameters.seed}
    if is_base64:
        content = await parts.blobs.get(run.image.store_key)
        return {"b64_json": base64.b64encode(content).decode(), **own}
    shown = rendering.generation(run, parts.public_url(request), parts.signer, parts.now_s())
    return {"url": shown["image_url"], **own}


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


_REFUSED: Final = ("Refused, in OpenAI's shape; `code` is one of ErrorCode.", shape("OpenaiError"))

CREATE: Final = operation(
    "createImages",
    "Draw images as OpenAI's Images API does; the official clients work with base_url and api_key set.",
    {
        200: answer("The images; each also says its run and seed.", shape("ImageAnswer")),
        **{status: answer(*_REFUSED) for status in (400, 401, 403, 404, 409, 413, 415)},
        **{status: answer(*_REFUSED, headers=["Retry-After"]) for status in (429, 503)},
        500: answer(*_REFUSED),
    },
    body=shape("ImageRequest"),
    example={"prompt": "A blue teapot on a wooden table", "model": "$MODEL_ID", "n": 1, "size": "512x512"},
)
