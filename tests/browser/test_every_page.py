"""Every page in both themes and widths: nobody is shut out, nothing overflows or is heavy; pictures for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import QUICK
from tests.browser.sights import SIGHTS, Scene, Sight
from tests.support import pages
from tests.support.browsers import Visitor, weight_bytes
from tests.support.platform import Platform
from tests.support.rest import Account

LIMIT_BYTES = 200_000
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
#: What a person who cannot see it, or use a mouse, is hindered by.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}
#: The theme changes colours, the width what is beside and below what.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
#: Who is not of the studio from the start.
STRANGERS = ("guest", "newcomer", "hasty", "traveller")
LOOKS = (("light", "desktop", RULES), ("dark", "desktop", {}), ("dark", "390", COLOURS), ("light", "390", {}))


@pytest.fixture(scope="module")
def scene(platform: Platform, studio: Account) -> Scene:
    """Pages with something on them."""
    run = studio.get("/v1/generations", params={"status": "completed"}).json()["generations"][0]
    sweep = {"positive_prompts": ["a red apple", "a cactus"], "lora_weights": [0.4, 1]}
    batch = {"name": "Fruit, two weights", "sweep": sweep, "defaults": {"model_id": studio.lora(), **QUICK}}
    batch_id = studio.post("/v1/batches", batch).json()["batch_id"]
    named = pages.things(studio, run_id=run["run_id"], batch_id=batch_id)
    stopped = studio.submit(positive_prompt="a house at night", width=768, height=768, steps=100)
    studio.post(f"/v1/generations/{stopped}/cancel")
    for item in studio.get("/v1/generations", params={"batch_id": batch_id}).json()["generations"]:
        studio.until(item["run_id"])
    studio.until(stopped)
    return Scene(platform, studio, named, stopped)


@pytest.fixture(scope="module")
def seats(
    platform: Platform, scene: Scene, logged_in: Callable[[str], Any], browser: Browser
) -> Iterator[Callable[[str], Visitor]]:
    """One open browser for each person, by who they are."""
    taken: dict[str, Visitor] = {}

    def seat(who: str) -> Visitor:
        if who not in taken:
            state = None if who in STRANGERS else logged_in(who)
            taken[who] = Visitor(browser, platform.ready["url"], state=state, viewport=DESKTOP, reduced_motion="reduce")
            if who in STRANGERS and who != "guest":
                login = taken[who].sign_up("Studio Nord")
                if who == "traveller":
                    taken[who].join(scene.invite(login.email)["link"], password=login.password)
        return taken[who]

    yield seat
    for visitor in taken.values():
        visitor.__exit__()


@pytest.mark.parametrize("sight", SIGHTS, ids=lambda sight: sight.label)
def test_a_page_is_fit_for_everybody(
    sight: Sight, seats: Callable[[str], Visitor], scene: Scene, axe: str, screenshots: Path
) -> None:
    visitor = seats(sight.who)
    page = visitor.page
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")
    sight.reach(visitor, scene)
    page.wait_for_load_state("load")
    assert weight_bytes(page) < LIMIT_BYTES

    page.evaluate(axe)
    for theme, width, rules in LOOKS:
        size = PHONE if width == "390" else DESKTOP
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        if rules:
            assert _serious(page.evaluate("rules => axe.run(document, rules)", rules)) == []
        page.screenshot(path=screenshots / f"{sight.label}-{theme}-{width}.png")


def test_every_page_has_its_picture() -> None:
    labels = [sight.label for sight in SIGHTS]

    assert set(pages.SHOWN) <= {sight.path for sight in SIGHTS if not sight.opens or sight.then}
    assert len(labels) == len(set(labels))


def _serious(found: dict[str, Any]) -> list[str]:
    return [
        f"{problem['id']}: {problem['help']}: {[node['html'] for node in problem['nodes']][:3]}"
        for problem in found["violations"]
        if problem["impact"] in ("serious", "critical")
    ]


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
