"""Whatever is sent: a clear message, nothing changed, nothing of it run."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browsers import Login, Visitor
from tests.support.platform import Platform
from tests.support.rest import Account

SCRIPT = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
PAGES = [
    *("/playground", "/generations", "/models", "/batches", "/settings/api-keys", "/settings/members"),
    *("/settings/usage", "/settings/usage?by=key", "/settings/webhooks", "/settings/plan", "/settings/audit"),
    *("/settings/account", "/admin"),
]


def test_a_wrong_password_and_an_unknown_address_are_told_alike(
    visit: Callable[..., Visitor], new_member: Callable[[str], Login]
) -> None:
    login, visitor = new_member("viewer"), visit("guest")
    said = []
    for email in (login.email, "nobody.at.all@example.com"):
        visitor.open("/login")
        visitor.fill(email=email, password="not the password")
        visitor.click("Log in")
        expect(visitor.page.get_by_role("alert")).to_be_visible()
        said.append(visitor.page.inner_text("[role=alert]"))
        assert visitor.page.input_value("#email") == email
        assert visitor.page.input_value("#password") == ""

    assert said[0] == said[1] != ""


def test_an_address_that_is_taken_is_refused(visit: Callable[..., Visitor], new_member: Callable[[str], Login]) -> None:
    login, visitor = new_member("viewer"), visit("guest")
    visitor.open("/signup")
    visitor.fill(name="Eve", email=login.email.upper(), organization_name="Eve's", password="four words again here")
    visitor.click("Create the account")

    expect(visitor.page.get_by_role("alert")).to_be_visible()
    assert "/signup" in visitor.page.url
    assert visitor.page.input_value("#name") == "Eve"


@pytest.mark.parametrize("token", ["", "0" * 64, "stale"])
def test_a_forged_or_stale_token_changes_nothing_and_says_what_to_do(
    visit: Callable[..., Visitor], studio: Account, token: str
) -> None:
    visitor = visit("owner")
    visitor.open("/settings/plan")
    if token == "stale":
        other = visit("admin")
        other.open("/settings/plan")
        token = other.csrf()

    answer = visitor.post("/settings/plan", csrf_token=token, name="Stolen")

    assert answer.status == 403
    assert "This form is out of date" in answer.text()
    assert "load the page again" in answer.text()
    assert studio.get("/v1/organization").json()["name"] != "Stolen"


def test_the_session_alone_changes_nothing_on_v1(visit: Callable[..., Visitor], studio: Account) -> None:
    visitor = visit("owner")
    visitor.open("/settings/plan")
    before = len(studio.get("/v1/keys").json()["keys"])

    answer = visitor.context.request.post("/v1/keys", data={"name": "stolen"})

    assert answer.status == 403
    assert answer.json()["error"]["code"] == "invalid_csrf_token"
    assert len(studio.get("/v1/keys").json()["keys"]) == before


def test_a_form_of_ten_megabytes_is_refused_with_a_page(platform: Platform, visit: Callable[..., Visitor]) -> None:
    visitor = visit("owner")
    visitor.open("/settings/plan")

    answer = visitor.post("/settings/plan", name="x" * 10_000_000)

    assert answer.status == 413
    assert "That is too much for this form" in answer.text()


def test_nobody_is_led_to_another_site_after_the_log_in(
    visit: Callable[..., Visitor], new_member: Callable[[str], Login]
) -> None:
    login, visitor = new_member("viewer"), visit("guest")
    for target in ("//evil.example", "/\\evil.example", "https://evil.example"):
        visitor.open(f"/login?next={target}")
        answer = visitor.post("/login", email=login.email, password=login.password, next=target)
        assert answer.headers["location"] == "/playground"


def test_scripts_in_every_text_are_shown_and_never_run(visit: Callable[..., Visitor], studio: Account) -> None:
    run_id = studio.submit(
        positive_prompt=SCRIPT, negative_prompt=SCRIPT, model_id=studio.base_model(), metadata={SCRIPT[:32]: SCRIPT}
    )
    studio.post("/v1/keys", {"name": SCRIPT[:100]})
    studio.post("/v1/webhooks", {"url": "https://hooks.example.com/x", "description": SCRIPT})
    visitor = visit("owner")
    batch = studio.post(
        "/v1/batches", {"name": SCRIPT, "items": [{"positive_prompt": SCRIPT, "model_id": studio.base_model()}]}
    ).json()["batch_id"]
    webhook = studio.get("/v1/webhooks").json()["webhooks"][0]["id"]

    administrator = visit("administrator")
    for path in [*PAGES, f"/generations/{run_id}", f"/batches/{batch}", f"/settings/webhooks/{webhook}"]:
        who = administrator if path == "/admin" else visitor
        page = who.open(path)
        assert page.title() != "pwned", path
        assert page.locator("script:not([src])").count() == 0, path
        assert page.locator("[onerror], [style]").count() == 0, path
    visitor.open(f"/generations/{run_id}")
    assert "<script>" in visitor.page.inner_text("h1")
    for path in ("/settings/plan", "/settings/members/invite", "/settings/webhooks", "/settings/api-keys", "/batches"):
        names = ("name", "email", "url", "description", "prompts", "weights", "seeds_count", "expires_on", "scopes")
        answer = visitor.post(path, **dict.fromkeys(names, SCRIPT))
        assert SCRIPT not in answer.text(), path
    visitor.open("/settings/plan")
    visitor.fill(name="Test")
    visitor.click("Save")


@pytest.mark.parametrize("path", ["/login", "/playground", "/settings/api-keys", "/nothing/here"])
def test_every_page_forbids_what_is_not_its_own(visit: Callable[..., Visitor], path: str) -> None:
    visitor = visit("owner")
    answer = visitor.context.request.get(path, headers={"accept": "text/html"})

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


def test_the_session_is_out_of_reach_of_scripts(visit: Callable[..., Visitor]) -> None:
    visitor = visit("owner")
    visitor.open("/playground")

    session = next(cookie for cookie in visitor.context.cookies() if cookie["name"] == "imagineo_session")

    assert session["httpOnly"]
    assert session["sameSite"] == "Lax"
    assert visitor.page.evaluate("document.cookie") == ""


def test_pages_are_no_part_of_the_documented_interface(platform: Platform) -> None:
    paths = httpx.get(f"{platform.ready['url']}/openapi.json", trust_env=False).json()["paths"]

    assert not [path for path in paths if path.startswith(("/settings", "/login", "/playground"))]
