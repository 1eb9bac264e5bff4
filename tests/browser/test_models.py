"""LoRAs: uploaded in the browser, with their check report, their sharing, and what is said of a bad file."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.browsers import Visitor
from tests.support.platform import REPOSITORY

FILE = REPOSITORY / "libs" / "starter" / "weights" / "loras" / "pixel-art.safetensors"


def test_a_lora_is_uploaded_checked_shared_and_deleted(visit: Callable[..., Visitor]) -> None:
    visitor = visit("developer")
    page = visitor.open("/models")
    page.get_by_text("Upload a LoRA").click()
    page.set_input_files("#file", str(FILE))
    visitor.fill(name="Sunday Pixels", description="Coarse & friendly", trigger_words="pixel art, sunday")
    visitor.click("Upload and check")
    page.wait_for_url("**/models/model_*")

    said = visitor.said()
    assert "The LoRA is checked and ready" in said
    assert "matched" in said
    assert "pixel art, sunday" in said

    page.get_by_text("Change it").click()
    visitor.fill(name="Monday Pixels")
    page.select_option("#sharing", "public")
    visitor.click("Save")
    expect(page.get_by_role("heading", name="Monday Pixels")).to_be_visible()
    assert "yours, public" in visitor.said()

    page.get_by_text("Change it").click()
    page.select_option("#sharing", "organizations")
    visitor.fill(shared_with="not an id")
    visitor.click("Save")
    expect(page.locator("#shared_with-wrong")).to_contain_text("ids of organizations")

    visitor.click("Delete this LoRA", is_asked=True)
    expect(page.get_by_role("status")).to_contain_text("deleted")
    assert "Monday Pixels" not in page.inner_text("main")


def test_a_file_that_is_no_lora_is_refused_with_the_reason(visit: Callable[..., Visitor]) -> None:
    visitor = visit("developer")
    page = visitor.open("/models")
    page.get_by_text("Upload a LoRA").click()
    page.set_input_files("#file", {"name": "x.safetensors", "mimeType": "text/plain", "buffer": b"<script>1</script>"})
    visitor.fill(name="No LoRA")
    visitor.click("Upload and check")

    expect(page.locator("#upload-problem")).to_contain_text("safetensors")
    expect(page.locator("#upload-button")).to_be_enabled()


def test_models_are_searched(visit: Callable[..., Visitor]) -> None:
    visitor = visit("viewer")
    page = visitor.open("/models?q=neon")

    expect(page.locator(".model h2")).to_have_text(["Neon"])
    visitor.open("/models?q=nothing+like+it")
    assert "No LoRA fits" in visitor.said()
