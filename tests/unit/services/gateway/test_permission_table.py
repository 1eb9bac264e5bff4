"""Every route names its permission, and the page that shows the table is up to date."""

from __future__ import annotations

from pathlib import Path

from imagineo.permissions import SCOPES

from services.gateway.dashboard.routes import PAGES
from services.gateway.permission_table import page
from services.gateway.routes import ROUTES

PAGE = Path(__file__).parents[4] / "services" / "auth" / "PERMISSIONS.md"

#: What anybody may see: health, the documentation, and pictures by their signed links.
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/{name}"),
    ("GET", "/llms.txt"),
    ("GET", "/images/{name}"),
}

#: Pages of those who are not logged in yet, or not any more.
ENTRANCE = {
    "/",
    "/login",
    "/signup",
    "/logout",
    "/forgot-password",
    "/reset-password",
    "/verify-email",
    "/invitation",
    "/invitation/accept",
}


def test_every_route_names_its_permission():
    unnamed = {(row.method, row.path) for row in ROUTES if row.permission is None}
    assert unnamed == OPEN
    assert all(row.permission in SCOPES.values() for row in ROUTES if row.permission is not None)


def test_every_page_names_its_permission():
    assert {each.path for each in PAGES if each.permission is None} == ENTRANCE


def test_the_page_of_permissions_is_up_to_date():
    assert PAGE.read_text() == page(), "run `make permissions`"
