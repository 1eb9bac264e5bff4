"""`/docs` and `/llms.txt`: the document for people and for language models. Nothing is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from imagineo import errors
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.parts import Parts
from services.gateway.specification import answer, operation, parameter

_STATIC: Final = Path(__file__).parents[1] / "static"
_VIEWER: Final = {
    "rapidoc-min.js": "text/javascript",
    "rapidoc-min.js.LICENSE.txt": "text/plain",
    "rapidoc.LICENSE.txt": "text/plain",
}
_FILES: Final = {name: (_STATIC / name).read_bytes() for name in ("docs.html", *_VIEWER)}

#: The viewer sets styles from its code; it may load, run and reach nothing but this gateway.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'{elsewhere}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def page(parts: Parts, _request: Request) -> Response:
    """The page that renders `/openapi.json`."""
    public_url = parts.settings.public_url.rstrip("/")
    headers = {
        "Content-Security-Policy": _POLICY.format(elsewhere=f" {public_url}" if public_url else ""),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(_FILES["docs.html"], headers=headers, media_type="text/html")


async def viewer(_parts: Parts, request: Request) -> Response:
    """A file of the viewer."""
    name = str(request.path_params["name"])
    if name not in _VIEWER:
        raise errors.NotFound("There is no such file.")
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=86400"}
    return Response(_FILES[name], headers=headers, media_type=_VIEWER[name])


async def llms(parts: Parts, _request: Request) -> Response:
    """The summary."""
    return Response(parts.llms, media_type="text/markdown")


_TEXT: Final = {"type": "string"}

PAGE: Final = operation(
    "docs",
    "This document as a page.",
    {200: answer("The page.", _TEXT, headers=["Cache-Control", "Content-Security-Policy"], media_type="text/html")},
)
VIEWER: Final = operation(
    "docsFile",
    "A file of the page.",
    {200: answer("The file.", _TEXT, headers=["Cache-Control"], media_type="text/*")},
    refuses=[404],
    parameters=[parameter("name", "path", "Which one.", {"enum": list(_VIEWER)}, required=True)],
    path_values={"name": "rapidoc-min.js"},
)
LLMS: Final = operation(
    "llms", "A summary for language models.", {200: answer("Markdown.", _TEXT, media_type="text/markdown")}
)
