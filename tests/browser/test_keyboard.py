"""By keyboard alone: every control is reached, seen while it has the focus, and worked; questions give it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import QUICK
from tests.support.browsers import Visitor
from tests.support.rest import Account

DRAWN_MS = 90_000
PHONE = {"width": 390, "height": 844}
#: Where the focus is, whether one sees it, and whether something lies over it. A picture to choose shows its input's.
FOCUS = """
() => {
  const at = document.activeElement;
  const shown = at.matches(".pick input") ? at.nextElementSibling : at;
  const { outlineStyle, outlineWidth } = getComputedStyle(shown);
  const { left, top, width, height } = at.getBoundingClientRect();
  const hit = document.elementFromPoint(left + Math.min(width, innerWidth) / 2, top + height / 2);
  return {
    name: at.id || at.name || at.textContent.trim(),
    is_seen: outlineStyle === "solid" && parseFloat(outlineWidth) >= 2,
    is_on_top: hit !== null && (at.contains(hit) || hit.contains(at)),
  };
}
"""


def tabbed(page: Page, count: int) -> list[dict[str, Any]]:
    """Where the focus goes, key by key."""
    stops = []
    for _ in range(count):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUS))
    return stops


@pytest.mark.parametrize("size", [{"width": 1280, "height": 720}, PHONE], ids=["desktop", "390"])
def test_the_focus_goes_through_the_playground_in_reading_order_and_is_always_seen(
    visit: Callable[..., Visitor], size: dict[str, int]
) -> None:
    page = visit("developer", viewport=size).open("/playground")
    page.focus("#content")
    stops = tabbed(page, 26)

    wanted = [
        *("positive_prompt", "negative_prompt", "model_id", "lora_weight", "size", "steps", "guidance", "seed"),
        *("More", "draw", "open-run"),
    ]
    names = [stop["name"] for stop in stops]
    assert [name for name in names if name in wanted] == wanted
    in_form = stops[: names.index("open-run") + 1]
    assert [stop["name"] for stop in in_form if not stop["is_seen"]] == []
    assert [stop["name"] for stop in in_form if not stop["is_on_top"]] == []


def test_a_picture_is_drawn_without_a_mouse(visit: Callable[..., Visitor]) -> None:
    page = visit("developer").open("/playground")
    page.focus("#content")
    page.keyboard.press("Tab")
    page.keyboard.type("a red apple")
    first = page.locator("input[name=model_id]:checked").input_value()
    tabbed(page, 2)
    page.keyboard.press("ArrowRight")
    assert page.locator("input[name=model_id]:checked").input_value() != first
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#lora_weight_shown") == "0.95"
    while tabbed(page, 1)[0]["name"] != "steps":
        pass
    page.keyboard.type("4")
    page.keyboard.press("Enter")

    expect(page.locator("#stage-heard")).to_have_text("The picture is there.", timeout=DRAWN_MS)
    assert page.evaluate(FOCUS)["name"] == "steps"


def test_a_question_takes_the_focus_keeps_it_and_gives_it_back(visit: Callable[..., Visitor], studio: Account) -> None:
    run = studio.draw(positive_prompt="a cactus", model_id=studio.base_model(), **QUICK)
    page = visit("developer").open(f"/generations/{run['run_id']}")
    button = page.get_by_role("button", name="Delete")
    dialog = page.get_by_role("dialog", name="Are you sure?")
    button.focus()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#ask')")
    page.keyboard.press("Escape")

    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert studio.generation(run["run_id"])["status"] == "completed"

    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("deleted")


def test_the_content_is_reached_past_the_places(visit: Callable[..., Visitor]) -> None:
    page = visit("viewer").open("/generations")
    assert tabbed(page, 1)[0]["name"] == "Skip to the content"
    page.keyboard.press("Enter")
    stops = tabbed(page, 4)

    assert [stop["name"] for stop in stops[:3]] == ["status", "model", "Show"]
    assert all(stop["is_seen"] for stop in stops)
    page.keyboard.press("Enter")
    page.wait_for_url("**/generations/gen_*")
