"""The playground draws before one's eyes, says what is wrong beside the field, and shows the same in code."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.browsers import Visitor

DRAWN_MS = 90_000
#: Writes down what a screen reader is told.
LISTEN = """
window.heard = [];
const place = document.getElementById("stage-heard");
const hear = () => { if (place.textContent) heard.push(place.textContent); };
new MutationObserver(hear).observe(place, { childList: true });
"""
#: The four states of a run, and its quarters.
MOST_HEARD = 7


def test_a_picture_appears_while_it_is_drawn(visit: Callable[..., Visitor]) -> None:
    visitor = visit("developer")
    page = visitor.open("/playground")
    visitor.fill(positive_prompt="a sailboat", steps="60")
    page.get_by_label("Pixel Art").check()
    page.get_by_label("LoRA weight").fill("0.5")
    page.evaluate(LISTEN)
    visitor.click("Draw")

    expect(page.locator("#picture.is-preview")).to_be_visible(timeout=DRAWN_MS)
    assert page.get_attribute("#picture", "src").startswith("data:image/webp")
    expect(page.locator("#stage-words")).to_contain_text("Drawing")

    expect(page.locator("#stage-words")).to_contain_text("seed", timeout=DRAWN_MS)
    expect(page.locator("#picture")).not_to_have_class("is-preview")
    expect(page.locator("#picture")).to_have_js_property("naturalWidth", 256)
    heard = page.evaluate("heard")
    assert heard[-1] == "The picture is there."
    assert any(words.startswith("Drawing") for words in heard)
    assert len(heard) == len(set(heard)) <= MOST_HEARD
    page.get_by_role("link", name="Details").click()
    facts = page.inner_text("main")
    assert "a sailboat" in facts
    assert "Pixel Art" in facts
    assert "0.50" in facts
    assert "Completed" in facts


def test_a_run_is_stopped(visit: Callable[..., Visitor]) -> None:
    visitor = visit("developer")
    page = visitor.open("/playground")
    visitor.fill(positive_prompt="a house", steps="100")
    visitor.page.select_option("#size", "768x768")
    visitor.click("Draw")
    visitor.click("Stop")

    expect(page.locator("#stage-words")).to_have_text("Stopped.", timeout=DRAWN_MS)


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(visit: Callable[..., Visitor]) -> None:
    visitor = visit("developer")
    page = visitor.open("/playground")
    visitor.fill(positive_prompt="a <b>house</b>", guidance="99")
    page.evaluate("document.getElementById('studio').noValidate = true")
    visitor.click("Draw")

    expect(page.locator("#studio-problem")).to_contain_text("between 1 and 20")
    expect(page.locator("#guidance")).to_have_attribute("aria-invalid", "true")
    assert page.input_value("#positive_prompt") == "a <b>house</b>"


def test_the_same_is_shown_in_three_languages(visit: Callable[..., Visitor]) -> None:
    visitor = visit("viewer")
    page = visitor.open("/playground")
    visitor.fill(positive_prompt="it's a boat", seed="5")

    assert "it'\\''s a boat" in page.inner_text("#code-text")
    page.get_by_role("tab", name="curl").press("ArrowRight")
    assert 'positive_prompt="it\'s a boat"' in page.inner_text("#code-text")
    assert "seed=5" in page.inner_text("#code-text")
    page.get_by_role("tab", name="Python").press("ArrowRight")
    assert "imagineo-client" in page.inner_text("#code-text")
