"""Lets pages of other origins call the API, where the operator names them (CORS). Keys go along, cookies never do.

What has no place here: the dashboard, whose pages are for its own origin alone.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_PATHS: Final = ("/v1/", "/images/", "/openapi.json")
_METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
#: Beside what browsers show of any answer.
_SHOWN: Final = (
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
    "traceresponse",
)
#: The longest that Chromium keeps a preflight's answer.
_KEPT_S: Final = 7_200


class CrossOrigin:
    """Answers preflights, and says on the API's answers, errors too, that their page may read them.

    Args:
        app: what stands behind it.
        origins: such as `https://app.example.org`, or `*`.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        # Any header may come: what a header may do is decided where it is read, and without cookies a page that names
        # one can do no more than anybody with a key.
        self._shared = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=_SHOWN,
            max_age=_KEPT_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_shared = scope["type"] == "http" and scope["path"].startswith(_PATHS)
        await (self._shared if is_shared else self._app)(scope, receive, send)
