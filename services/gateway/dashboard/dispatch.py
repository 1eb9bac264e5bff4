"""One path's pages: lets the visitor in, checks that a form is ours, runs the handler, turns refusals into pages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from imagineo import errors, tokens
from imagineo.v1 import account_pb2
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.gateway.credentials import SESSION_COOKIE, check_site
from services.gateway.dashboard import forms, session
from services.gateway.dashboard.mishaps import mishap_page
from services.gateway.dashboard.views import Views
from services.gateway.dashboard.visit import Visit
from services.gateway.errors import HTTP_STATUS, retry_after
from services.gateway.exchange import exchange_of
from services.gateway.parts import Parts

log = logging.getLogger(__name__)

Handler = Callable[[Visit], Awaitable[Response]]

#: Refusals of who is not logged in, or not any more.
_NOT_LOGGED_IN: Final = (errors.InvalidSession, errors.MissingApiKey)


@dataclass(frozen=True, slots=True)
class Page:
    """One page, or one form's target."""

    method: str
    path: str
    handler: Handler
    permission: account_pb2.Permission.ValueType | None = None
    """What the role must allow; None: nobody need be logged in."""
    again: Handler | None = None
    """Shows the page with what was refused; None: an error page."""


class _Path:
    """The ASGI app of one path template."""

    def __init__(self, parts: Parts, views: Views, path: str, pages: Sequence[Page]) -> None:
        self._parts = parts
        self._views = views
        self._path = path
        self._pages = {page.method: page for page in pages}
        if "GET" in self._pages:
            self._pages.setdefault("HEAD", self._pages["GET"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange_of(scope).route = self._path
        visit = Visit(self._parts, self._views, Request(scope, receive))
        response = await self._answer(visit)
        await response(scope, receive, send)

    async def _answer(self, visit: Visit) -> Response:
        try:
            page = self._page(visit.request.method)
            await self._let_in(visit, page)
            return await self._run(visit, page)
        except _NOT_LOGGED_IN:
            return _to_log_in(visit)
        except errors.ImagineoError as problem:
            if isinstance(problem, errors.Internal):
                log.exception("a page failed")
            return mishap_page(visit, problem)
        except Exception:
            log.exception("a page failed unexpectedly")
            return mishap_page(visit, errors.Internal())

    def _page(self, method: str) -> Page:
        if method in self._pages:
            return self._pages[method]
        allow = ", ".join(sorted(self._pages))
        raise errors.MethodNotAllowed(f"This address takes {allow} only.", metadata={"allow": allow})

    async def _let_in(self, visit: Visit, page: Page) -> None:
        binding = visit.token(SESSION_COOKIE) or visit.token(session.GUEST_COOKIE)
        if page.permission is not None:
            visit.person = await session.person_of(visit, page.permission)
        elif not binding:
            binding = tokens.new_token()
            visit.guest = binding
        visit.csrf = tokens.csrf_token(binding)
        if visit.request.method == "POST":
            visit.form = await forms.read(visit.request)
            check_site(visit.request.headers, self._parts.settings.public_url)
            if visit.guest or not tokens.is_csrf_token(visit.form.raw("csrf_token"), binding):
                raise errors.InvalidCsrfToken

    async def _run(self, visit: Visit, page: Page) -> Response:
        try:
            response = await page.handler(visit)
        except _NOT_LOGGED_IN:
            raise
        except errors.Refused as problem:
            if page.again is None:
                raise
            visit.problem, visit.status = problem, HTTP_STATUS[problem.reason]
            response = await page.again(visit)
            response.headers.update(retry_after(problem))
        if visit.guest:
            session.keep(visit.parts, response, session.GUEST_COOKIE, visit.guest)
        return response


def _to_log_in(visit: Visit) -> Response:
    """Where somebody looked for a page: the log-in, which leads back to it."""
    back = visit.request.url.path
    query = f"&next={quote(back)}" if back != "/playground" else ""
    if visit.request.headers.get("hx-request") == "true":
        # A part of a page: htmx follows a redirect by itself and would put the log-in's page where the part was.
        headers = {"HX-Redirect": "/login?notice=log-in-first", "Cache-Control": "no-store"}
        response = Response(status_code=HTTPStatus.UNAUTHORIZED, headers=headers)
    elif visit.request.method not in ("GET", "HEAD"):
        return mishap_page(visit, errors.InvalidSession())
    else:
        response = visit.go(f"/login?notice=log-in-first{query}")
    session.forget(visit.parts, response, SESSION_COOKIE)
    return response


def routes(parts: Parts, views: Views, table: Sequence[Page]) -> list[Route]:
    """The routes of a table of pages, in its order."""
    paths: dict[str, list[Page]] = {}
    for page in table:
        paths.setdefault(page.path, []).append(page)
    return [Route(path, _Path(parts, views, path, pages)) for path, pages in paths.items()]
