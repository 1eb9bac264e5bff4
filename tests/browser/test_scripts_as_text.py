"""Whatever people write into any field is text: shown as it was typed on every page, and never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import QUICK
from tests.support import pages
from tests.support.browsers import Visitor, new_person
from tests.support.platform import REPOSITORY, Platform
from tests.support.rest import Account

SCRIPT = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
#: What fits into a trigger word.
SHORT = SCRIPT.partition("<img")[0]
FILE = REPOSITORY / "libs" / "starter" / "weights" / "loras" / "pixel-art.safetensors"


@pytest.fixture(scope="module")
def haunted(platform: Platform) -> Iterator[Account]:
    """An organization in which everything is called by a script."""
    with platform.account() as account:
        assert account.http.patch("/v1/organization", json={"name": SCRIPT}).status_code == 200
        yield account


@pytest.fixture(scope="module")
def named(haunted: Account) -> dict[str, str]:
    """What pages are about, every text of it a script."""
    upload = {"name": SCRIPT, "description": SCRIPT, "trigger_words": [SHORT, "</textarea>"], "sharing": "private"}
    upload["base_model_id"] = haunted.base_model()
    files = {"file": (f"{SHORT}.safetensors", FILE.read_bytes())}
    model = haunted.http.post("/v1/models", data=upload, files=files)
    assert model.status_code == 200, model.text
    texts = {"positive_prompt": SCRIPT, "negative_prompt": SCRIPT, "metadata": {SCRIPT[:32]: SCRIPT}}
    run = haunted.draw(model_id=model.json()["id"], **texts, **QUICK)
    batch = haunted.post("/v1/batches", {"name": SCRIPT, "items": [haunted.body(positive_prompt=SCRIPT)]}).json()
    webhook = haunted.post("/v1/webhooks", {"url": "https://hooks.example.com/x", "description": SCRIPT}).json()
    assert haunted.post("/v1/keys", {"name": SCRIPT}).status_code == 200
    haunted.until(
        haunted.get("/v1/generations", params={"batch_id": batch["batch_id"]}).json()["generations"][0]["run_id"]
    )
    known = {
        "run_id": run["run_id"],
        "model_id": model.json()["id"],
        "batch_id": batch["batch_id"],
        "webhook_id": webhook["id"],
    }
    return pages.things(haunted, **known)


@pytest.fixture(scope="module")
def visitor(platform: Platform, browser: Browser, haunted: Account) -> Iterator[Visitor]:
    """Its owner, whose own name is a script too."""
    login = new_person(platform.ready["grpc"]["auth"], haunted, "owner", name=SCRIPT, is_administrator=True)
    with Visitor(browser, platform.ready["url"]) as opened:
        yield opened.log_in(login)


def unharmed(visitor: Visitor) -> None:
    page = visitor.page
    assert page.title() != "pwned"
    assert page.locator("script:not([src]), [onerror], [style], img[src=x]").count() == 0


def test_scripts_in_every_text_are_shown_and_never_run(visitor: Visitor, named: dict[str, str]) -> None:
    for path in pages.SHOWN:
        if path not in pages.OPEN:
            visitor.open(pages.address(path, named))
            unharmed(visitor)
            assert visitor.page.inner_text(".who").startswith("<script>"), path
    for path in (
        "/generations/{run_id}",
        "/models/{model_id}",
        "/batches/{batch_id}",
        "/settings/webhooks/{webhook_id}",
    ):
        visitor.open(pages.address(path, named))
        assert SCRIPT in visitor.page.inner_text("main"), path
    for path in ("/settings/usage?by=key", "/settings/usage?by=model", "/generations?model=" + named["model_id"]):
        visitor.open(path)
        unharmed(visitor)
    visitor.open("/models/" + named["model_id"])
    assert visitor.page.input_value("#name") == SCRIPT
    assert visitor.page.input_value("#description") == SCRIPT
    assert visitor.page.input_value("#trigger_words") == f"{SHORT}, </textarea>"


def test_the_playground_writes_a_script_as_text(visitor: Visitor, named: dict[str, str]) -> None:
    page = visitor.open(f"/playground?from={named['run_id']}")
    assert page.input_value("#positive_prompt") == SCRIPT
    for language in ("curl", "Python", "TypeScript"):
        page.get_by_role("tab", name=language).click()
        assert "onerror" in page.inner_text("#code-text")
    visitor.fill(steps="2")
    visitor.click("Draw")
    expect(page.locator("#stage-words")).to_contain_text("seed", timeout=90_000)

    assert "<script>" in page.inner_text("#stage-words")
    unharmed(visitor)


def test_an_invitation_by_a_script_is_text(platform: Platform, browser: Browser, visitor: Visitor) -> None:
    visitor.open("/settings/members")
    visitor.fill(email="guest.of.a.script@example.com")
    visitor.click("Invite")
    unharmed(visitor)
    link = visitor.page.inner_text("#invitation-link")

    with Visitor(browser, platform.ready["url"]) as guest:
        guest.page.goto(link)
        guest.page.wait_for_selector("#name")
        assert guest.page.inner_text("h1") == f"Join {SCRIPT}"
        unharmed(guest)
        guest.fill(name=SCRIPT, password="short")
        guest.click("Join")
        guest.page.wait_for_selector("#password-wrong")
        assert guest.page.input_value("#name") == SCRIPT
        unharmed(guest)


def test_a_question_before_something_is_lost_is_text(visitor: Visitor, named: dict[str, str]) -> None:
    visitor.open("/settings/api-keys")
    visitor.page.get_by_role("row", name="<script>").get_by_role("button", name="Revoke").click()

    assert SCRIPT in visitor.page.inner_text("#ask-words")
    unharmed(visitor)
    assert named


@pytest.mark.parametrize(
    "path",
    [
        "/settings/plan",
        "/settings/members/invite",
        "/settings/webhooks",
        "/settings/api-keys",
        "/batches",
        "/models/{model_id}",
    ],
)
def test_a_refused_form_comes_back_with_what_was_typed_as_text(
    visitor: Visitor, named: dict[str, str], path: str
) -> None:
    visitor.open("/playground")
    long = "\"'>" + SCRIPT * 40
    names = (
        "name",
        "email",
        "url",
        "description",
        "prompts",
        "weights",
        "seeds_count",
        "expires_on",
        "scopes",
        "sharing",
    )
    answer = visitor.post(pages.address(path, named), **dict.fromkeys((*names, "trigger_words", "shared_with"), long))

    assert answer.status in (400, 404)
    assert "<script>document" not in answer.text()
    assert 'onerror="' not in answer.text()


@pytest.mark.parametrize("path", ["/login", "/signup", "/forgot-password", "/reset-password", "/invitation"])
def test_pages_before_the_log_in_write_a_script_as_text(visit: Callable[..., Visitor], path: str) -> None:
    guest = visit("guest")
    guest.open(path)
    names = ("name", "email", "organization_name", "password", "new_password", "token", "next")
    answer = guest.post(path, **dict.fromkeys(names, SCRIPT))

    assert 200 <= answer.status < 500
    assert "<script>document" not in answer.text()
    assert 'onerror="' not in answer.text()
