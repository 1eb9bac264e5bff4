"""`/v1/uploads`: pictures of the clients' own, kept for variations and upscales."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

from imagineo import errors
from imagineo.v1 import upload_service_pb2 as pb
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.body import JSON, media_type
from services.gateway.exchange import principal_of
from services.gateway.fields import missing, unknown
from services.gateway.parts import Parts, json_response
from services.gateway.picture_file import MAX_ASPECT, MAX_BYTES, MAX_PIXELS, MAX_SIDE_PX, MIN_SIDE_PX
from services.gateway.rendering import moment
from services.gateway.sourced import read_data_url
from services.gateway.specification import answer, operation, shape
from services.gateway.uploads import shown

#: A file as base64 in JSON, and what stands around it.
BODY_LIMIT_BYTES: Final = 26_800_000

_MULTIPART: Final = "multipart/form-data"
_MAX_FIELDS: Final = 8


async def create(parts: Parts, request: Request) -> Response:
    """Keep one picture."""
    principal = principal_of(request.scope)
    kind = media_type(request.headers)
    if kind == JSON:
        upload = await parts.uploads.keep(principal, read_data_url(await request.body()))
    elif kind == _MULTIPART:
        try:
            async with request.form(max_files=1, max_fields=_MAX_FIELDS) as form:
                upload = await parts.uploads.keep(principal, _file_of(form.multi_items()))
        except (MultiPartException, FormParserError) as problem:
            message = f"The multipart body cannot be read: {problem}"
            raise errors.InvalidParameter(message, metadata={"param": "file"}) from problem
    else:
        raise errors.UnsupportedMediaType(f"The body's content type must be {_MULTIPART} or application/json.")
    return json_response(shown(upload, moment))


async def read(parts: Parts, request: Request) -> Response:
    """Read one upload."""
    names = pb.GetUploadRequest(**_names(request))
    found = await parts.peers.ask(parts.peers.uploads.GetUpload, names)
    return json_response(shown(found.upload, moment))


async def delete(parts: Parts, request: Request) -> Response:
    """Delete one upload for good."""
    await parts.peers.ask(parts.peers.uploads.DeleteUpload, pb.DeleteUploadRequest(**_names(request)))
    return Response(status_code=204)


def _names(request: Request) -> dict[str, str]:
    owner = principal_of(request.scope).organization_id
    return {"organization_id": owner, "upload_id": str(request.path_params["upload_id"])}


def _file_of(fields: list[tuple[str, Any]]) -> BinaryIO:
    for name, _ in fields:
        if name != "file":
            raise unknown(name, ("file",))
    files = [value for _, value in fields if isinstance(value, UploadFile)]
    if len(files) != 1 or len(fields) != 1:
        raise missing("file", "one PNG, JPEG or WebP file")
    return files[0].file


_BOUNDS: Final = (
    f"PNG, JPEG or WebP, by its content: at most {MAX_BYTES} bytes and {MAX_PIXELS} pixels, sides from {MIN_SIDE_PX} "
    f"to {MAX_SIDE_PX} pixels, the longer at most {MAX_ASPECT} times the shorter."
)

_CURL: Final = (
    'curl -sS --fail-with-body "$IMAGINEO_URL/v1/uploads" -X POST \\\n'
    '  -H "X-API-Key: $IMAGINEO_API_KEY" \\\n'
    '  -F "file=@$PICTURE"'
)

CREATE: Final = operation(
    "createUpload",
    "Upload a picture for variations and upscales. It is kept upright, without metadata, at most 4096 pixels a side; "
    "of an animation its first frame.",
    {200: answer("Kept until `expires_at`.", shape("Upload"))},
    refuses=[400, 413, 415],
    body=shape("UploadForm"),
    example={"file": "@$PICTURE"},
    body_type=_MULTIPART,
    curl=_CURL,
)
CREATE["requestBody"]["description"] = _BOUNDS
CREATE["requestBody"]["content"]["application/json"] = {
    "schema": shape("UploadBody"),
    "example": {"file": "data:image/png;base64,iVBORw0KGgo…"},
}

READ: Final = operation("getUpload", "Read an upload.", {200: answer("As it stands.", shape("Upload"))}, refuses=[404])
DELETE: Final = operation(
    "deleteUpload",
    "Delete an upload for good; runs that were accepted with it and have not begun will fail with `source_missing`.",
    {204: {"description": "It is gone.", "headers": {}}},
    refuses=[404],
    path_values={"upload_id": "$UNWANTED_UPLOAD_ID"},
)
