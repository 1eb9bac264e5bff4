"""`GET /images/<run_id>.<ext>`: a signed link's bytes out of the object store, with ETag and ranges.

No key is asked for: the signature is the permission.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import generation_pb2
from imagineo.v1 import generation_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.gateway import ranges
from services.gateway.exchange import exchange_of
from services.gateway.parts import Parts, json_response
from services.gateway.rendering import FORMAT_WORDS, image_name
from services.gateway.specification import answer, operation, parameter

_GONE: Final = "There is no such image."


async def read(parts: Parts, request: Request) -> Response:
    """The image, a part of it, or only its headers."""
    name = str(request.path_params["name"])
    expires, signature = request.query_params.get("expires", ""), request.query_params.get("signature", "")
    expires_at_s = parts.signer.verify(name, expires, signature, parts.now_s())
    image = await _find(parts, request, name)
    etag = f'"{image.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={max(0, expires_at_s - int(parts.now_s()))}, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    if ranges.matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return await _send(parts, request, image, headers, etag)


async def _find(parts: Parts, request: Request, name: str) -> generation_pb2.Image:
    run_id = name.partition(".")[0]
    if not is_id(run_id, "gen"):
        raise errors.NotFound(_GONE)
    exchange_of(request.scope).run_id = run_id
    # No organization: the signature has said already that the bearer may see it.
    found = await parts.peers.ask(parts.peers.status.GetGeneration, pb.GetGenerationRequest(run_id=run_id))
    run: generation_pb2.Generation = found.generation
    if not run.HasField("image") or name != image_name(run_id, run.image.output_format):
        raise errors.NotFound(_GONE)
    return run.image


async def _send(
    parts: Parts, request: Request, image: generation_pb2.Image, headers: dict[str, str], etag: str
) -> Response:
    wanted = request.headers.get("range", "")
    if request.headers.get("if-range", etag) != etag:
        wanted = ""
    try:
        part = ranges.byte_range(wanted, image.size_bytes) if request.method == "GET" else None
    except ranges.Unsatisfiable:
        return _unsatisfiable(request, image.size_bytes)
    start, end = part or (0, image.size_bytes)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{image.size_bytes}"
    media_type = f"image/{FORMAT_WORDS[image.output_format]}"
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    body = await _begun(parts.blobs.stream(image.store_key, start, end))
    return StreamingResponse(body, status_code=206 if part else 200, headers=headers, media_type=media_type)


async def _begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, with the first one read: what is wrong with the object is known before the headers go out.

    Raises:
        NotFound: if the object is gone.
        Unavailable: if the store is away.
    """
    try:
        first = await anext(pieces, b"")
    except errors.NotFound as problem:
        raise errors.NotFound(_GONE) from problem

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return rest()


def _unsatisfiable(request: Request, size_bytes: int) -> Response:
    problem = errors.InvalidParameter.of("Range", f"within the image's {size_bytes} bytes")
    body = {
        "code": problem.code,
        "message": problem.message,
        "request_id": exchange_of(request.scope).request_id,
        "param": "Range",
    }
    return json_response({"error": body}, status=416, headers={"Content-Range": f"bytes */{size_bytes}"})


_BYTES: Final = {"type": "string", "contentMediaType": "image/*"}
_HEADERS: Final = ("ETag", "Accept-Ranges", "Cache-Control")

READ: Final = operation(
    "getImage",
    "Read an image by its signed link.",
    {
        200: answer("The image.", _BYTES, headers=_HEADERS, media_type="image/*"),
        206: answer("The bytes asked for.", _BYTES, headers=(*_HEADERS, "Content-Range"), media_type="image/*"),
        304: {"description": "The client's copy is good.", "headers": {}},
        416: answer("No byte of the range exists.", {"$ref": "#/components/schemas/Error"}, headers=["Content-Range"]),
    },
    refuses=[403, 404, 503],
    parameters=[
        parameter("name", "path", "`<run_id>.<ext>`", {"type": "string"}, required=True),
        parameter("expires", "query", "Unix second.", {"type": "string"}, required=True),
        parameter("signature", "query", "As signed.", {"type": "string"}, required=True),
        parameter("Range", "header", "One byte range.", {"type": "string"}),
        parameter("If-None-Match", "header", "The ETag of a copy.", {"type": "string"}),
        parameter("If-Range", "header", "The ETag that the range is of.", {"type": "string"}),
    ],
    curl='curl -sS --fail-with-body -o picture.png "$IMAGE_URL"  # as the generation says in image_url',
)
