"""One person's whole way with a browser alone: from the sign-up to the colleague who is invited and removed."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from imagineo.ids import new_id
from imagineo.keys import is_well_formed
from playwright.sync_api import expect

from tests.support.browsers import PASSWORD, Visitor
from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually

DRAWN_MS = 90_000
#: What may be pressed although no form is sent: the theme, what is copied, languages of code.
SCRIPTED = "[data-theme-switch], [data-copy], [data-prompt], [role=tab]"
SEEN_BY_ALL = (
    *("/generations", "/playground", "/models", "/batches"),
    *("/settings/members", "/settings/usage", "/settings/plan", "/settings/account"),
)
FORM = """
([action, fields]) => {
  const form = Object.assign(document.createElement("form"), { method: "post", action });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement("input"), { name, value }));
  }
  document.body.append(form);
  form.submit();
}
"""


def test_a_person_runs_a_team_with_a_browser_alone(visit: Callable[..., Visitor], platform: Platform) -> None:
    owner, colleague = visit("guest"), visit("guest")
    sign_up_and_log_in(owner)
    secret = make_a_key(owner)
    call_the_api(platform, secret)
    draw(owner)
    join_as_viewer(owner, colleague)
    see_all_and_change_nothing(colleague)
    watch_usage(owner)
    revoke_the_key(owner, platform, secret)
    remove_the_colleague(owner, colleague)
    assert secret not in platform.logs()


def sign_up_and_log_in(owner: Visitor) -> None:
    email = f"ada.{new_id('user')[-12:]}@example.com"
    owner.open("/")
    owner.page.get_by_role("link", name="Create an account").click()
    owner.fill(name="Ada Lovelace", email=email, organization_name="Engine & Co", password=PASSWORD)
    owner.click("Create the account")
    owner.page.wait_for_url("**/playground*")
    owner.click("Log out")
    expect(owner.page.get_by_role("status")).to_contain_text("You are logged out")
    owner.fill(email=email, password=PASSWORD)
    owner.click("Log in")
    owner.page.wait_for_url("**/playground")


def make_a_key(owner: Visitor) -> str:
    owner.page.get_by_role("link", name="Settings").first.click()
    owner.fill(name="my first")
    owner.click("Create the key")
    secret = owner.page.inner_text("#new-key")
    assert is_well_formed(secret)
    owner.open("/settings/api-keys")
    expect(owner.page.get_by_role("row", name="my first")).to_be_visible()
    assert secret not in owner.page.content()
    return secret


def call_the_api(platform: Platform, secret: str) -> None:
    with api(platform, secret) as http:
        model_id = http.get("/v1/base-models").json()["base_models"][0]["id"]
        body = {"positive_prompt": "a red apple", "model_id": model_id, "width": 64, "height": 64, "steps": 2}
        run = http.post("/v1/generate", json=body, headers={"Prefer": "wait=60"}).json()
    assert run["status"] == "completed", run


def draw(owner: Visitor) -> None:
    page = owner.open("/playground")
    owner.fill(positive_prompt="a sunflower", steps="20")
    page.get_by_label("Pixel Art").check()
    owner.click("Draw")
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#stage-words")).to_contain_text("Drawing", timeout=DRAWN_MS)
    expect(page.locator("#stage-words")).to_contain_text("a sunflower · seed", timeout=DRAWN_MS)
    expect(page.locator("#picture")).to_have_js_property("naturalWidth", 256)
    expect(page.locator("#strip .shot")).to_have_count(2)


def join_as_viewer(owner: Visitor, colleague: Visitor) -> None:
    owner.open("/settings/members")
    owner.fill(email=f"grace.{new_id('user')[-12:]}@example.com")
    owner.page.select_option("#role", "viewer")
    owner.click("Invite")
    colleague.page.goto(owner.page.inner_text("#invitation-link"))
    expect(colleague.page.get_by_role("heading", name="Join Engine & Co")).to_be_visible()
    assert "#" not in colleague.page.url
    expect(colleague.page.locator("main p").first).to_contain_text("ada.")
    colleague.fill(name="Grace Hopper", password="a compiler for words")
    colleague.click("Join")
    expect(colleague.page.get_by_text("Your role sees pictures but draws none.")).to_be_visible()


def see_all_and_change_nothing(colleague: Visitor) -> None:
    page = colleague.open("/generations")
    expect(page.locator(".shot img")).to_have_count(2)
    page.locator(".shot").first.click()
    expect(page.get_by_role("heading", name="Parameters")).to_be_visible()
    leads: set[str] = set()
    for address in (page.url, *SEEN_BY_ALL):
        colleague.open(address)
        leads |= working_links(colleague)
    assert {"/models", "/settings/usage"} < leads
    for path in leads:
        assert colleague.context.request.get(path).status == 200, f"a dead link: {path}"

    token = colleague.csrf()
    page.evaluate(FORM, ["/settings/api-keys", {"name": "mine", "scopes": "keys:read", "csrf_token": token}])
    expect(page.get_by_role("heading", name="Your role does not allow this")).to_be_visible()
    expect(page.get_by_text("Nothing was changed. Ask an owner or admin")).to_be_visible()


def working_links(visitor: Visitor) -> set[str]:
    """Where the page leads, after a look at its buttons: each sends a form of the visitor's own, or has a script."""
    for form in visitor.page.locator("form[method=post]").all():
        assert str(form.get_attribute("action")).startswith(("/logout", "/settings/account")), visitor.page.url
    for button in visitor.page.locator("button:visible").all():
        is_of_form = button.evaluate("button => button.type === 'submit' && button.form !== null")
        is_scripted = button.evaluate("(button, scripted) => button.matches(scripted)", SCRIPTED)
        assert is_of_form or is_scripted, button.inner_text()
    links = visitor.page.locator("a[href]").evaluate_all("links => links.map((link) => link.href)")
    paths = {urlsplit(link).path for link in links if link.startswith(visitor.url)}
    return {path for path in paths if not path.startswith("/images/")}


def watch_usage(owner: Visitor) -> None:
    def is_counted() -> bool:
        return "2" in owner.open("/settings/usage").locator(".numbers li").last.inner_text().splitlines()

    eventually(is_counted, within_s=SURELY_S, what="both pictures are counted")
    for by, names in (("model", ["Imagineo Starter", "Pixel Art"]), ("key", ["my first", "the dashboard"])):
        owner.page.get_by_role("link", name=f"By {by}").click()
        owner.page.wait_for_url(f"**by={by}*")
        expect(owner.page.locator(".chart rect")).to_have_count(2)
        assert sorted(owner.page.locator(".legend-list li").all_inner_texts()) == sorted(names)
        expect(owner.page.locator("#chart-table tbody tr")).to_have_count(1)


def revoke_the_key(owner: Visitor, platform: Platform, secret: str) -> None:
    with api(platform, secret) as http:
        assert http.get("/v1/models").status_code == 200
        owner.open("/settings/api-keys")
        owner.click("Revoke", is_asked=True)
        expect(owner.page.get_by_role("status")).to_contain_text("The key is revoked")
        refused = eventually(
            lambda: answer if (answer := http.get("/v1/models")).status_code == 401 else None,
            within_s=SURELY_S,
            what="the key is refused",
        )
    assert refused.json()["error"]["code"] == "invalid_api_key"


def remove_the_colleague(owner: Visitor, colleague: Visitor) -> None:
    owner.open("/settings/members")
    owner.page.get_by_role("row", name="Grace Hopper").get_by_role("button", name="Remove").click()
    owner.agree()
    expect(owner.page.get_by_role("status")).to_contain_text("removed")

    def is_out() -> bool:
        colleague.page.goto("/generations")
        return "/login" in colleague.page.url

    eventually(is_out, within_s=SURELY_S, what="the removed member is logged out")
    expect(colleague.page).to_have_url(re.compile("/login"))
    expect(colleague.page.get_by_role("status")).to_contain_text("Log in to go on")


def api(platform: Platform, secret: str) -> httpx.Client:
    """What a program does with the key."""
    return httpx.Client(base_url=platform.ready["url"], headers={"X-API-Key": secret}, timeout=70, trust_env=False)
