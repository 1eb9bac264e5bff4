"""Who is not logged in any more is led to the log-in, by the browser or by htmx."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from imagineo.settings import Secret
from imagineo.v1 import account_pb2
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from services.gateway import exchange
from services.gateway.dashboard.dispatch import Page, routes
from services.gateway.dashboard.visit import Visit
from services.gateway.settings import GatewaySettings


async def never(_visit: Visit) -> Response:
    raise AssertionError


@pytest.fixture
def client() -> TestClient:
    """One page behind the log-in; without a cookie no service is asked."""
    settings = GatewaySettings(
        auth_address="",
        catalog_address="",
        status_address="",
        blobs_url="",
        nats_url="",
        signing_key=Secret("k" * 16),
        public_url="https://images.example.org",
    )
    parts: Any = SimpleNamespace(settings=settings)
    views: Any = None
    page = Page("GET", "/batches", never, account_pb2.PERMISSION_GENERATIONS_READ)
    app = Starlette(routes=routes(parts, views, [page]))

    async def begun(scope: Scope, receive: Receive, send: Send) -> None:
        exchange.begin(scope, "req")
        await app(scope, receive, send)

    return TestClient(begun, follow_redirects=False)


def test_a_page_leads_to_the_log_in_and_back(client: TestClient) -> None:
    answer = client.get("/batches")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?notice=log-in-first&next=/batches")
    assert answer.headers["strict-transport-security"] == "max-age=15552000"
    assert answer.headers["set-cookie"].startswith("__Host-imagineo_session=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert "Domain" not in answer.headers["set-cookie"]


def test_a_part_of_a_page_makes_the_whole_page_go_to_the_log_in(client: TestClient) -> None:
    answer = client.get("/batches", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.text) == (401, "")
    assert answer.headers["hx-redirect"] == "/login?notice=log-in-first"
    assert "Max-Age=0" in answer.headers["set-cookie"]
