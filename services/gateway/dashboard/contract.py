"""The pages' way to the platform: the very handlers of `/v1`, called in this process with the visitor's principal.

What a page shows and what a form changes is therefore checked, worded and kept apart by organization as over REST.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from imagineo import errors
from imagineo.permissions import SCOPE_WORDS
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from services.gateway.dispatch import Row
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts
from services.gateway.routes import ROUTES

_ROWS: Final = {(row.method, row.path): row for row in ROUTES}


async def ask(
    parts: Parts,
    request: Request,
    method: str,
    path: str,
    *,
    names: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """What a route of `/v1` answers to who is logged in. The page was counted; only submits count for the organization.

    Args:
        parts: the gateway's.
        request: the page's, already authorized.
        method: such as `GET`.
        path: the route's template, such as `/v1/generations/{run_id}`.
        names: the values of the template's names.
        query: the query's parameters; empty ones are left out.
        body: what is sent as JSON; None: nothing.
        headers: more of them.

    Raises:
        ImagineoError: as the route does.
    """
    row = _ROWS[method, path]
    _check_permission(request, row)
    asked = {name: value for name, value in (query or {}).items() if value}
    more = {"content-type": "application/json", **(headers or {})}
    scope: Scope = {
        **request.scope,
        "method": method,
        "path": path.format_map(dict(names or {})),
        "query_string": urlencode(asked).encode(),
        "path_params": dict(names or {}),
        "headers": [
            *((name, value) for name, value in request.scope["headers"] if name.decode("latin-1") in _PASSED),
            *((name.encode(), value.encode("latin-1")) for name, value in more.items()),
        ],
    }
    response = await row.handler(parts, Request(scope, _body(b"" if body is None else msgspec.json.encode(body))))
    return msgspec.json.decode(response.body) if response.body else None


#: What of the page's request the route may know.
_PASSED: Final = frozenset({"host", "cookie", "origin", "referer", "sec-fetch-site", "user-agent", "x-forwarded-for"})


def _check_permission(request: Request, row: Row) -> None:
    if row.permission is None or row.permission in principal_of(request.scope).permissions:
        return
    word = SCOPE_WORDS[row.permission]
    raise errors.PermissionDenied(f"Your role lacks the permission '{word}'.", metadata={"permission": word})


def _body(content: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    return receive
