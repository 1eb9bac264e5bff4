"""What a batch has drawn: its results as JSON lines or a ZIP archive, made while they are sent; its contact sheet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from imagineo import errors
from imagineo.v1 import batch_pb2
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query, ranges
from services.gateway.archive import Archive
from services.gateway.batch_items import items_of
from services.gateway.contact_sheet import Cell, tag
from services.gateway.endpoints.batches import names_of
from services.gateway.parts import Parts
from services.gateway.rendering import FORMAT_WORDS, STATUS_WORDS
from services.gateway.rendering_batch import result
from services.gateway.specification import answer, operation, parameter

JSON_LINES: Final = "application/x-ndjson"
ZIP: Final = "application/zip"

#: Lines are sent together up to so many bytes.
_PIECE_BYTES: Final = 65_536

Show = Callable[[batch_pb2.BatchItem], dict[str, Any]]


async def read(parts: Parts, request: Request) -> Response:
    """The results as they stand: JSON lines, or a ZIP archive where that is asked for."""
    query.check_names(request.query_params, ("format",))
    media_type = _media_type(request)
    names = names_of(request)
    items = await _begun(items_of(parts.peers, **names))
    name = f"{names['batch_id']}.{'zip' if media_type == ZIP else 'jsonl'}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    public_url = parts.public_url(request)

    def show(item: batch_pb2.BatchItem) -> dict[str, Any]:
        return result(item, public_url, parts.signer, parts.now_s())

    if media_type == ZIP:
        body = _archive(parts, items, lambda: items_of(parts.peers, **names), show)
    else:
        body = _lines(show(item) async for item in items)
    return parts.downloads.begin(names["organization_id"], body, headers=headers, media_type=media_type)


async def sheet(parts: Parts, request: Request) -> Response:
    """The contact sheet; drawn anew unless the client's copy is good."""
    query.check_names(request.query_params, ())
    cells = [_cell(item) async for item in items_of(parts.peers, **names_of(request))]
    etag = f'"{tag(cells)}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    if ranges.matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(headers=headers, media_type="image/png")
    return Response(await parts.contact_sheets.draw(cells), headers=headers, media_type="image/png")


def _media_type(request: Request) -> str:
    wanted = request.query_params.get("format")
    if wanted is None:
        accepted = request.headers.get("accept", "").lower().split(",")
        return ZIP if any(one.partition(";")[0].strip() == ZIP for one in accepted) else JSON_LINES
    if wanted not in ("jsonl", "zip"):
        raise errors.InvalidParameter.of("format", "one of jsonl, zip")
    return ZIP if wanted == "zip" else JSON_LINES


async def _begun(items: AsyncIterator[batch_pb2.BatchItem]) -> AsyncIterator[batch_pb2.BatchItem]:
    """The same items, with the first one read: what is wrong is known before the headers go out."""
    first = await anext(items, None)

    async def rest() -> AsyncIterator[batch_pb2.BatchItem]:
        if first is not None:
            yield first
        async for item in items:
            yield item

    return rest()


async def _lines(shown: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for line in shown:
        waiting += msgspec.json.encode(line) + b"\n"
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


async def _archive(
    parts: Parts,
    items: AsyncIterator[batch_pb2.BatchItem],
    again: Callable[[], AsyncIterator[batch_pb2.BatchItem]],
    show: Show,
) -> AsyncIterator[bytes]:
    """The pictures in order, then `results.jsonl`, which says what file is whose and what is missing."""
    archive = Archive()
    written: dict[int, str] = {}
    missing: set[int] = set()
    async for item in items:
        image = item.generation.image
        if not image.store_key:
            continue
        try:
            pieces = await _opened(parts.blobs.stream(image.store_key))
        except errors.NotFound:
            missing.add(item.index)
            continue
        written[item.index] = f"{item.index:04d}_{item.run_id}.{FORMAT_WORDS[image.output_format]}"
        async for part in archive.file(written[item.index], pieces, size_bytes=image.size_bytes):
            yield part

    def shown(item: batch_pb2.BatchItem) -> dict[str, Any]:
        return show(item) | {"file": written.get(item.index), "missing": item.index in missing}

    async for part in archive.file("results.jsonl", _lines(shown(item) async for item in again())):
        yield part
    async for part in archive.end():
        yield part


async def _opened(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, with the first one read: a picture that is gone is known before its file begins."""
    first = await anext(pieces, b"")

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return rest()


def _cell(item: batch_pb2.BatchItem) -> Cell:
    if not item.HasField("generation"):
        return Cell(item.index, "deleted")
    word, image = STATUS_WORDS[item.generation.status], item.generation.image
    return Cell(item.index, word, image.store_key, image.size_bytes, image.sha256)


_LINES_SHAPE: Final = {
    "type": "string",
    "description": "One BatchResult on each line, in the order of the items, those without an image included.",
}
_BYTES: Final = {"type": "string", "contentMediaType": "image/png"}


def _with_archive(described: dict[str, Any]) -> dict[str, Any]:
    """The same operation, which answers with an archive as well."""
    archive = {"type": "string", "contentMediaType": ZIP}
    described["responses"]["200"]["content"][ZIP] = {"schema": archive}
    return described


READ: Final = _with_archive(
    operation(
        "getBatchResults",
        "Fetch what a batch has drawn so far: a line for each item, or all images in a ZIP archive.",
        {
            200: answer(
                "JSON lines, or with `format=zip` an archive of the images and `results.jsonl`, whose lines say `file` "
                "(null: no image) and `missing` (true: the image is gone from the store). It is made while it is sent; "
                "a connection that ends early leaves a file without its end.",
                _LINES_SHAPE,
                headers=["Cache-Control", "Content-Disposition"],
                media_type=JSON_LINES,
            )
        },
        refuses=[400, 404],
        parameters=[
            parameter(
                "format",
                "query",
                "`jsonl` or `zip`; where it is absent, `Accept: application/zip` asks for the archive.",
                {"enum": ["jsonl", "zip"]},
            )
        ],
    )
)
SHEET: Final = operation(
    "getContactSheet",
    "Draw the contact sheet of a batch: every item small, with its index below.",
    {
        200: answer(
            "The sheet; an item without an image shows its status.",
            _BYTES,
            headers=["Cache-Control", "ETag"],
            media_type="image/png",
        ),
        304: {"description": "The client's copy is good.", "headers": {}},
    },
    refuses=[400, 404],
    parameters=[parameter("If-None-Match", "header", "The ETag of a copy.", {"type": "string"})],
    curl='curl -sS --fail-with-body -o sheet.png "$IMAGINEO_URL/v1/batches/$BATCH_ID/contact-sheet.png" \\\n'
    '  -H "X-API-Key: $IMAGINEO_API_KEY"',
)
