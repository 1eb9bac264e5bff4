"""A run's page: all that is known of it, and what may be made of it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import expect

from tests.browser.conftest import QUICK
from tests.support.browsers import Visitor
from tests.support.rest import Account

DRAWN_MS = 90_000


def test_pictures_are_filtered_by_status_and_model(visit: Callable[..., Visitor], studio: Account) -> None:
    visitor = visit("viewer")
    page = visitor.open("/generations")
    page.select_option("#model", label="Imagineo Starter")
    page.select_option("#status", "completed")
    visitor.click("Show")

    expect(page.locator(".shot")).not_to_have_count(0)
    asked = studio.get("/v1/generations", params={"model": studio.base_model(), "status": "completed"})
    expect(page.locator(".shot")).to_have_count(len(asked.json()["generations"]))
    visitor.open("/generations?status=expired")
    assert "Nothing fits" in visitor.said()


def test_more_pictures_come_as_the_reader_scrolls(visit: Callable[..., Visitor], studio: Account) -> None:
    prompt = {
        "positive_prompt": "a dot",
        "model_id": studio.base_model(),
        **QUICK,
        "width": 64,
        "height": 64,
        "steps": 1,
    }
    batch = studio.post("/v1/batches", {"items": [{**prompt, "seed": seed} for seed in range(32)]}).json()
    visitor = visit("viewer")
    page = visitor.open(f"/generations?batch_id={batch['batch_id']}")
    expect(page.locator(".gallery .shot")).to_have_count(30)

    page.locator(".gallery li").last.scroll_into_view_if_needed()

    expect(page.locator(".gallery .shot")).to_have_count(32)
    studio.post(f"/v1/batches/{batch['batch_id']}/cancel")


def test_a_picture_is_varied_and_enlarged_and_deleted(visit: Callable[..., Visitor], studio: Account) -> None:
    run = studio.draw(positive_prompt="a cat face", model_id=studio.base_model(), **QUICK)
    visitor = visit("developer")
    page = visitor.open(f"/generations/{run['run_id']}")

    visitor.fill(count="1", strength="0.3")
    visitor.click("Draw variations")
    expect(page.get_by_text("Variation of")).to_be_visible()
    expect(page.get_by_role("link", name="Download")).to_be_visible(timeout=DRAWN_MS)

    visitor.open(f"/generations/{run['run_id']}")
    visitor.page.get_by_role("button", name="Upscale 2").click()
    expect(page.get_by_text("Upscale of")).to_be_visible()
    expect(page.get_by_role("link", name="Download")).to_be_visible(timeout=DRAWN_MS)
    assert "512" in visitor.said()

    visitor.open(f"/generations/{run['run_id']}")
    visitor.click("Delete", is_asked=True)
    expect(page.get_by_role("status")).to_contain_text("deleted")
    visitor.open(f"/generations/{run['run_id']}", status=404)
    assert httpx.get(run["image_url"], trust_env=False).status_code == 404


def test_a_variation_out_of_range_says_so_beside_its_field(visit: Callable[..., Visitor], studio: Account) -> None:
    run = studio.get("/v1/generations", params={"status": "completed"}).json()["generations"][0]
    visitor = visit("developer")
    visitor.open(f"/generations/{run['run_id']}")

    answer = visitor.post(f"/generations/{run['run_id']}/variations", count="99", strength="0.4")

    assert answer.status == 400
    assert "1 and 8" in answer.text()
    assert 'aria-invalid="true"' in answer.text()


def test_a_waiting_run_is_stopped_from_its_page(visit: Callable[..., Visitor], studio: Account) -> None:
    run_id = studio.submit(positive_prompt="a house", model_id=studio.base_model(), width=768, height=768, steps=100)
    visitor = visit("developer")
    page = visitor.open(f"/generations/{run_id}")
    visitor.click("Stop")

    expect(page.get_by_text("It was stopped before there was a picture.")).to_be_visible(timeout=DRAWN_MS)
