"""Usage, batches, webhooks, the plan and the audit log, as a team uses them."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.browsers import Visitor
from tests.support.deadlines import SURELY_S
from tests.support.platform import eventually
from tests.support.rest import Account

DRAWN_MS = 90_000


def test_usage_shows_what_was_drawn_by_model_and_by_key(visit: Callable[..., Visitor], studio: Account) -> None:
    eventually(
        lambda: studio.get("/v1/usage").json()["total"]["images"] >= 4, within_s=SURELY_S, what="images are counted"
    )
    visitor = visit("viewer")
    page = visitor.open("/settings/usage")

    expect(page.locator(".chart rect").first).to_be_visible()
    assert "Imagineo Starter" in page.inner_text(".legend-list")
    rows = page.locator("#chart-table tbody tr")
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="7 days").click()
    expect(page.locator(".chart rect").first).to_be_visible()

    owner = visit("owner")
    owner.open("/settings/usage?by=key")
    assert "test" in owner.page.inner_text(".legend-list")


def test_a_batch_is_queued_and_watched_until_it_is_over(visit: Callable[..., Visitor]) -> None:
    visitor = visit("developer")
    page = visitor.open("/batches")
    page.get_by_text("New batch", exact=True).click()
    visitor.fill(prompts="a red apple\na cactus", name="Fruit & more", weights="0, one")
    visitor.click("Queue the batch")
    expect(page.locator("#weights-wrong")).to_contain_text("numbers with commas")
    assert page.input_value("#prompts") == "a red apple\na cactus"

    visitor.fill(weights="0.5")
    visitor.click("Queue the batch")
    expect(page.get_by_role("heading", name="Fruit & more")).to_be_visible()
    expect(page.locator("#batch .badge").first).to_have_text("completed", timeout=DRAWN_MS)
    expect(page.locator("#batch .shot img")).to_have_count(2)


def test_a_webhook_is_added_switched_off_and_deleted(visit: Callable[..., Visitor]) -> None:
    visitor = visit("developer")
    page = visitor.open("/settings/webhooks")
    page.get_by_text("Add a webhook").click()
    visitor.fill(url="https://10.0.0.1/hook")
    visitor.click("Add the webhook")
    expect(page.locator("#url-wrong")).to_be_visible()
    visitor.fill(url="https://hooks.example.com/imagineo", description="tells the shop")
    page.get_by_label("generation.completed").check()
    visitor.click("Add the webhook")
    secret = page.inner_text("#new-secret")
    assert secret.startswith("whsec_")

    visitor.open("/settings/webhooks")
    assert secret not in page.content()
    page.get_by_role("link", name="https://hooks.example.com/imagineo").click()
    visitor.click("Switch off")
    expect(page.get_by_role("button", name="Switch on")).to_be_visible()
    visitor.click("New secret", is_asked=True)
    assert page.inner_text("#new-secret") != secret
    visitor.click("Delete", is_asked=True)
    expect(page.get_by_role("status")).to_contain_text("deleted")


def test_the_organization_is_renamed_and_the_audit_log_tells(visit: Callable[..., Visitor]) -> None:
    visitor = visit("owner")
    page = visitor.open("/settings/plan")
    visitor.fill(name="Test & Daughters")
    visitor.click("Save")
    expect(page.locator(".rail-foot")).to_contain_text("Test & Daughters")
    visitor.fill(name="Test")
    visitor.click("Save")
    expect(page.locator(".rail-foot .who .muted")).to_contain_text("Test ·")

    visitor.open("/settings/audit")
    said = page.inner_text("main")
    assert "organization changed" in said
    assert "user logged in" in said
