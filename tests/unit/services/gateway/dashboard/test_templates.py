"""What holds of every template and page, whoever adds one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.gateway import dashboard
from services.gateway.dashboard.routes import PAGES
from services.gateway.dashboard.views import environment

FOLDER = Path(dashboard.__file__).parent / "templates"
TEMPLATES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.html"))
POSTS = re.compile(r'<form[^>]*method="post".*?</form>', re.DOTALL)
INLINE = re.compile(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=|\|\s*safe\b|autoescape false")
#: Pages in front of the log-in; all others ask who is there.
OPEN = {
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


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_compiles_runs_nothing_inline_and_each_of_its_forms_carries_the_token(name: str) -> None:
    environment().get_template(name)
    text = (FOLDER / name).read_text()

    assert INLINE.findall(text) == []
    for form in POSTS.findall(text):
        assert re.search(r"\{\{ (token|csrf)\(visit\) \}\}", form), form


def test_every_page_behind_the_log_in_names_its_permission() -> None:
    assert {page.path for page in PAGES if page.permission is None} == OPEN


def test_no_page_is_reached_by_two_rows() -> None:
    names = [(page.method, page.path) for page in PAGES]

    assert len(names) == len(set(names))
    assert {method for method, _ in names} == {"GET", "POST"}
