"""One path's methods: finds the row, lets the request in, runs its handler. Rows are data; the table is in `routes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagineo import errors
from imagineo.ids import is_id
from imagineo.telemetry.logs import note
from imagineo.v1 import account_pb2
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.exchange import exchange_of
from services.gateway.parts import Parts
from services.gateway.settings import GatewaySettings

Handler = Callable[[Parts, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Row:
    """One route."""

    method: str
    path: str
    handler: Handler
    operation: Mapping[str, Any]
    """What `/openapi.json` says of it."""
    permission: account_pb2.Permission.ValueType | None = None
    """What the key or the member's role needs; None: nobody is asked who they are."""
    admits_itself: bool = False
    """The handler authorizes, because it reserves in the same call."""
    is_page: bool = False
    """Browsers load it by themselves: with a session it counts for the user, as the dashboard's pages do."""
    body_limit_bytes: Callable[[GatewaySettings], int] | None = None
    """The most bytes of a body; None: as of all routes."""


class _Path:
    """The ASGI app of one path template."""

    def __init__(self, parts: Parts, path: str, rows: Sequence[Row]) -> None:
        self._parts = parts
        self._path = path
        self._rows = {row.method: row for row in rows}
        if "GET" in self._rows:
            self._rows.setdefault("HEAD", self._rows["GET"])
        self._allow = ", ".join(sorted(self._rows))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.route = self._path
        run_id = str(scope.get("path_params", {}).get("run_id", ""))
        if is_id(run_id, "gen"):
            exchange.run_id = run_id
            note(run_id=run_id)
        row = self._rows.get(scope["method"])
        if row is None:
            raise errors.MethodNotAllowed(
                f"The method is not one of the route's: {self._allow}.", metadata={"allow": self._allow}
            )
        request = Request(scope, receive)
        if row.permission is not None and not row.admits_itself:
            await self._parts.gatekeeper.admit(request.headers, exchange, row.permission, is_page=row.is_page)
        response = await row.handler(self._parts, request)
        await response(scope, receive, send)


async def unknown_path(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What no route takes.

    Raises:
        NotFound: always.
    """
    raise errors.NotFound("There is no such path.")


def router(
    parts: Parts, table: Sequence[Row], pages: Sequence[Route] = (), *, otherwise: ASGIApp = unknown_path
) -> Router:
    """The router over a table of rows, in its order, then the pages' routes."""
    paths: dict[str, list[Row]] = {}
    for row in table:
        paths.setdefault(row.path, []).append(row)
    routes = [Route(path, _Path(parts, path, rows)) for path, rows in paths.items()]
    return Router([*routes, *pages], redirect_slashes=False, default=otherwise)
