"""The TypeScript client in a page of the platform: it draws, follows the events and hands over the picture's bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Route

from tests.support.rest import Account

USE = """
async ([apiKey, modelId]) => {
  const { Imagineo, ConfigurationError, InvalidFileError, verifyWebhook } = await import("/imagineo-client/index.js");
  const client = new Imagineo({ apiKey, baseUrl: location.origin, modelId });
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


def test_it_draws_in_a_page(browser: Browser, studio: Account, typescript_build: Path) -> None:
    asked: list[str] = []

    def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        asked.append(name)
        route.fulfill(path=typescript_build / "dist" / name, content_type="text/javascript")

    page = browser.new_page()
    page.route("**/imagineo-client/*.js", serve)
    page.goto(f"{studio.url}/healthz")
    found: dict[str, Any] = page.evaluate(USE, [studio.key, studio.base_model()])
    page.close()

    assert found == {
        "last": "completed",
        "begins": "PNG",
        "refused": True,
        "progress": [0],
        "unsaved": True,
        "forged": "WebhookVerificationError",
    }
    assert "files.js" in asked
