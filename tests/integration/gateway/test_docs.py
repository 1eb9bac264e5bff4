"""The page of the document: it loads nothing from elsewhere, and says so to the browser."""

import re

import pytest

from tests.support.gateway_peers import platform


@pytest.fixture
async def gateway():
    async with platform() as found:
        found.client.headers.pop("x-api-key")
        yield found


async def test_the_page_and_all_it_loads_come_from_here(gateway):
    page = await gateway.client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:src|href|spec-url)="([^"]+)"', page.text)
    assert {"/openapi.json", "/docs/rapidoc-min.js"} <= set(loaded)
    for place in loaded:
        assert (await gateway.client.get(place)).status_code == 200, place
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page.text)


async def test_the_browser_is_told_to_load_and_run_nothing_else(gateway):
    headers = (await gateway.client.get("/docs")).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self' https://imagineo.test"
    assert headers["x-content-type-options"] == "nosniff"


async def test_the_viewer_carries_its_licence_and_version(gateway):
    viewer = await gateway.client.get("/docs/rapidoc-min.js")
    assert viewer.headers["content-type"].startswith("text/javascript")
    assert viewer.text.startswith("/*! RapiDoc 9.3.8 ")
    assert "MIT License" in (await gateway.client.get("/docs/rapidoc.LICENSE.txt")).text


@pytest.mark.parametrize("name", ["docs.html", "README.md", "..%2Fapp.py", "x"])
async def test_no_other_file_is_given_away(gateway, name):
    assert (await gateway.client.get(f"/docs/{name}")).status_code == 404


async def test_the_summary_is_markdown(gateway):
    response = await gateway.client.get("/llms.txt")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    assert "POST /v1/generate" in response.text
