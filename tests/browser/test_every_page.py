"""Every page in both themes and widths: nobody is shut out, nothing overflows or is heavy; pictures for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import Visitor, weight_bytes
from tests.support.rest import Account

LIMIT_BYTES = 200_000
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
OPEN = ("/login", "/signup", "/forgot-password", "/reset-password", "/invitation")
MINE = (
    *("/playground", "/generations", "/generations/{run_id}", "/models", "/models/{model_id}", "/batches"),
    *("/settings/api-keys", "/settings/members", "/settings/usage", "/settings/webhooks", "/settings/plan"),
    *("/settings/account", "/settings/audit", "/admin"),
)
#: What a person who cannot see it, or use a mouse, is hindered by.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
#: The theme changes colours only.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}


@pytest.mark.parametrize("path", [*OPEN, *MINE, "/nothing/here"])
def test_a_page_is_fit_for_everybody(
    path: str, visit: Callable[..., Visitor], studio: Account, axe: str, screenshots: Path
) -> None:
    with visit("administrator" if path in MINE else "guest", viewport=DESKTOP) as visitor:
        page = visitor.page
        loaded: list[Any] = []
        page.on("response", lambda answer: loaded.append(answer))  # noqa: PLW0108 - it marks its handlers
        visitor.open(_named(path, studio), status=404 if path == "/nothing/here" else 200)
        page.wait_for_load_state("load")
        assert weight_bytes(loaded) < LIMIT_BYTES

        page.evaluate(axe)
        name = path.strip("/").replace("/", "-").translate({ord("{"): None, ord("}"): None})
        for theme, rules in (("light", RULES), ("dark", COLOURS)):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            assert _serious(page.evaluate("rules => axe.run(document, rules)", rules)) == []
            page.screenshot(path=screenshots / f"{name}-{theme}-desktop.png")

        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert _serious(page.evaluate("rules => axe.run(document, rules)", COLOURS)) == []
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            page.screenshot(path=screenshots / f"{name}-{theme}-390.png")


def _named(path: str, studio: Account) -> str:
    run = studio.get("/v1/generations", params={"status": "completed"}).json()["generations"][0]
    return path.format(run_id=run["run_id"], model_id=studio.lora())


def _serious(found: dict[str, Any]) -> list[str]:
    return [
        f"{problem['id']}: {problem['help']}: {[node['html'] for node in problem['nodes']][:3]}"
        for problem in found["violations"]
        if problem["impact"] in ("serious", "critical")
    ]


def test_the_keyboard_alone_reaches_content_and_controls(visit: Callable[..., Visitor]) -> None:
    visitor = visit("viewer")
    page = visitor.open("/generations")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if "shot" in page.evaluate("document.activeElement.className"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")

    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/generations/gen_*")


def test_the_theme_is_switched_and_kept(visit: Callable[..., Visitor]) -> None:
    visitor = visit("viewer")
    page = visitor.open("/models")
    page.emulate_media(color_scheme="light")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    visitor.page.get_by_role("button", name="Switch between light and dark").last.click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    visitor.open("/batches")

    assert dark != before
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
