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


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_compiles_runs_nothing_inline_and_each_of_its_forms_carries_the_token(name: str) -> None:
    environment().get_template(name)
    text = (FOLDER / name).read_text()

    assert INLINE.findall(text) == []
    for form in POSTS.findall(text):
        assert re.search(r"\{\{ (token|csrf)\(visit\) \}\}", form), form


def test_no_page_is_reached_by_two_rows() -> None:
    names = [(page.method, page.path) for page in PAGES]

    assert len(names) == len(set(names))
    assert {method for method, _ in names} == {"GET", "POST"}
