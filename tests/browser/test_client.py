"""The TypeScript client in a page of the platform, and in one of an origin that the platform names.

It draws, follows the events and hands over the picture's bytes; pages of other origins are told nothing.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from tests.support.rest import Account

USE = """
async ([apiKey, modelId, baseUrl]) => {
  const { Imagineo, ConfigurationError, InvalidFileError, verifyWebhook } = await import("/imagineo-client/index.js");
  const client = new Imagineo({ apiKey, baseUrl, modelId });
  const run = await client.generate("a red apple", { width: 64, height: 64, steps: 2 });
  const statuses = [];
  for await (const { generation } of run.events()) if (generation) statuses.push(generation.status);
  const image = await run.image();
  const progress = [];
  const upload = { name: "x", base_model_id: run.generation.base_model_id, onProgress: (sent) => progress.push(sent) };
  const refused = await client.models.upload(new Blob(["no LoRA"]), upload).catch((problem) => problem);
  const unsaved = await run.save("apple.png").catch((problem) => problem);
  const forged = await verifyWebhook("{}", {}, "whsec_AAAA").catch((problem) => problem);
  return {
    last: statuses.at(-1),
    begins: String.fromCharCode(...image.slice(1, 4)),
    refused: refused instanceof InvalidFileError,
    progress,
    unsaved: unsaved instanceof ConfigurationError,
    forged: forged.name,
  };
}
"""
WORKS = {
    "last": "completed",
    "begins": "PNG",
    "refused": True,
    "progress": [0],
    "unsaved": True,
    "forged": "WebhookVerificationError",
}
ASK = """
async ([apiKey, baseUrl]) => {
  const { Imagineo } = await import("/imagineo-client/index.js");
  const client = new Imagineo({ apiKey, baseUrl, maxRetries: 0 });
  return await client.limits.get().then(({ plan }) => plan, (problem) => `${problem.name} ${problem.requestId}`);
}
"""


def test_it_draws_in_a_page(browser: Browser, studio: Account, typescript_build: Path) -> None:
    asked: list[str] = []

    def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        asked.append(name)
        route.fulfill(path=typescript_build / "dist" / name, content_type="text/javascript")

    page = browser.new_page()
    page.route("**/imagineo-client/*.js", serve)
    page.goto(f"{studio.url}/healthz")
    found: dict[str, Any] = page.evaluate(USE, [studio.key, studio.base_model(), studio.url])
    page.close()

    assert found == WORKS
    assert "files.js" in asked


@pytest.fixture
def pages(elsewhere: tuple[Path, int], typescript_build: Path) -> int:
    """The port of somebody else's pages, with the client beside them. Routes of Playwright would answer preflights."""
    folder, port = elsewhere
    shutil.copytree(typescript_build / "dist", folder / "imagineo-client", dirs_exist_ok=True)
    return port


def test_it_draws_in_a_page_of_another_origin_that_the_platform_names(
    browser: Browser, studio: Account, pages: int
) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{pages}/")
    found: dict[str, Any] = page.evaluate(USE, [studio.key, studio.base_model(), studio.url])
    refused = page.evaluate(ASK, ["imag_wrong", studio.url])
    page.close()

    assert found == WORKS
    assert re.fullmatch(r"InvalidApiKeyError req_\w+", refused)


def test_a_page_of_an_origin_that_is_not_named_is_told_nothing(browser: Browser, studio: Account, pages: int) -> None:
    page = browser.new_page()
    page.goto(f"http://localhost:{pages}/")
    refused = page.evaluate(ASK, [studio.key, studio.url])
    page.close()

    assert refused == "ConnectionFailedError undefined"
