"""`GET /v1/generations/{id}/events`: a run's changes as server-sent events.

Each event's data is the generation as it then stands; its id is `<run_id>:<version>`, so a client that comes back
with `Last-Event-ID` gets what is newer and nothing twice. Previews, for those who ask, have no id. Source: HTML Living
Standard, section 9.2.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Final

import msgspec
from imagineo import errors
from imagineo.jobs.states import TERMINAL
from imagineo.v1 import event_pb2, generation_pb2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.gateway import query, rendering
from services.gateway.endpoints.generations import run_id_of
from services.gateway.exchange import holder_of
from services.gateway.following import Reader, first_of
from services.gateway.parts import Parts
from services.gateway.shapes import closed
from services.gateway.specification import answer, operation, parameter, shape

#: A comment goes out after so long without an event, so that no proxy takes the connection for dead.
KEEP_ALIVE_S: Final = 15.0
#: A client that takes nothing for so long is cut off; it comes back with the last id it has.
_SEND_S: Final = 30.0
#: What a client is told to wait before it comes back.
_RETRY: Final = b"retry: 2000\n\n"
_KEEP_ALIVE: Final = b": still here\n\n"
_RESTART: Final = b": the gateway restarts, come back with the last event's id\nretry: 1000\n\n"

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_VERSION: Final = re.compile(r"[0-9]{1,18}")

Show = Callable[[generation_pb2.Generation], object]


async def read(parts: Parts, request: Request) -> Response:
    """The stream; 204 where the client has had the terminal event, which tells an `EventSource` to stop."""
    query.check_names(request.query_params, ("previews",))
    wants_previews = _wants_previews(request.query_params.getlist("previews"))
    run_id = run_id_of(request)
    seen = _last_version(request.headers.get("last-event-id"), run_id)
    reader = parts.following.stream(holder_of(request.scope), run_id, wants_previews=wants_previews)
    try:
        first = await first_of(reader)
    except BaseException:
        reader.leave()
        raise
    if first.status in TERMINAL and first.version <= seen:
        reader.leave()
        return Response(status_code=204)
    public_url = parts.public_url(request)

    def show(run: generation_pb2.Generation) -> object:
        return rendering.generation(run, public_url, parts.signer, parts.now_s())

    return EventStream(reader, first, seen, show)


class EventStream(StreamingResponse):
    """Sends a reader's versions until the terminal one; leaves the reader however it ends."""

    def __init__(self, reader: Reader, first: generation_pb2.Generation, seen: int, show: Show) -> None:
        super().__init__((), headers=_HEADERS, media_type="text/event-stream")
        self._reader = reader
        self._first = first
        self._seen = seen
        self._show = show
        self._status = generation_pb2.STATUS_UNSPECIFIED

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        leaving = asyncio.create_task(_left(receive, self._reader))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._write(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._reader.leave()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        run: generation_pb2.Generation | None = self._first
        await _send(send, _RETRY)
        while not self._reader.is_ended:
            preview = self._reader.take_preview()
            if run is None and preview is None:
                await _send(send, _KEEP_ALIVE)
            elif run is not None and run.version > self._seen:
                await _send(send, self._event(run))
            if run is not None and run.status in TERMINAL:
                return
            if preview is not None:
                await _send(send, _preview_event(preview))
            try:
                run = await self._reader.next(KEEP_ALIVE_S)
            except errors.ImagineoError:
                return  # the run is gone, or the reader may not read it any more; who comes back is told so
        await _send(send, _RESTART)

    def _event(self, run: generation_pb2.Generation) -> bytes:
        name = b"progress" if run.status == self._status else b"status" if self._status else b"snapshot"
        self._status, self._seen = run.status, run.version
        event_id = f"{run.run_id}:{run.version}".encode()
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id, name, msgspec.json.encode(self._show(run)))


def _preview_event(preview: event_pb2.Preview) -> bytes:
    """Without an id: a client that comes back names the last change that it has."""
    image = f"data:image/webp;base64,{base64.b64encode(preview.webp).decode()}"
    shown = {"run_id": preview.run_id, "step": preview.step, "steps": preview.steps, "image": image}
    return b"event: preview\ndata: %b\n\n" % msgspec.json.encode(shown)


async def _send(send: Send, body: bytes) -> None:
    try:
        async with asyncio.timeout(_SEND_S):
            await send({"type": "http.response.body", "body": body, "more_body": True})
    except TimeoutError as problem:
        raise ClientDisconnect from problem


async def _left(receive: Receive, reader: Reader) -> None:
    """End the reader once the client is gone."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        reader.end()


def _wants_previews(given: list[str]) -> bool:
    """Whether `previews=true` was asked.

    Raises:
        InvalidParameter: for another value.
    """
    if given not in ([], ["true"]):
        raise errors.InvalidParameter.of("previews", "true, or leave it out")
    return bool(given)


def _last_version(header: str | None, run_id: str) -> int:
    """The version that the client has had; -1: none.

    Raises:
        InvalidParameter: if the id is no event's of this run.
    """
    if not header:
        return -1
    own, _, version = header.rpartition(":")
    if own != run_id or _VERSION.fullmatch(version) is None:
        raise errors.InvalidParameter.of("Last-Event-ID", f"the id of an event of this generation, such as {run_id}:3")
    return int(version)


#: One event, as a reader of the stream sees it.
_EVENT: Final = closed(
    {
        "id": {"type": "string", "pattern": "^gen_[0-9a-z]+:[0-9]+$"},
        "event": {"enum": ["snapshot", "status", "progress", "preview"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"anyOf": [shape("Generation"), shape("Preview")]},
        },
        "retry": {"description": "Milliseconds to wait before the stream is asked for again."},
    },
    optional=("id", "event", "data", "retry"),
)

READ: Final = operation(
    "streamEvents",
    "Follow one generation: a `snapshot` event first, then `status` and `progress` events, until the terminal one.",
    {
        200: answer(
            "Server-sent events. Each has `data`, the generation as in `GET /v1/generations/{run_id}`, and an `id` for "
            "`Last-Event-ID`; where changes come faster than they are read, only the newest is sent. A comment comes "
            "every 15 s without an event. The stream ends after the terminal event, and "
            "within two seconds once the key or the session may not read it any more. With `previews=true` there are "
            "`preview` events while it runs, at most two a second: a small picture of what the run is about to become, "
            "without an `id`, in place of the generation. Previews may be lost; upscales have none.",
            _EVENT,
            headers=["Cache-Control"],
            media_type="text/event-stream",
        ),
        204: {"description": "The event named in `Last-Event-ID` was the terminal one.", "headers": {}},
    },
    refuses=[400, 404],
    parameters=[
        parameter(
            "previews",
            "query",
            "`true`: send small pictures of the run while it is drawn.",
            {"type": "string", "enum": ["true"]},
        ),
        parameter(
            "Last-Event-ID",
            "header",
            "The id of the last event that was received: only what is newer is sent.",
            {"type": "string", "pattern": "^gen_[0-9a-z]+:[0-9]+$"},
        ),
    ],
    curl='curl -sS --fail-with-body -N "$IMAGINEO_URL/v1/generations/$RUN_ID/events?previews=true" \\\n'
    '  -H "X-API-Key: $IMAGINEO_API_KEY"',
)
