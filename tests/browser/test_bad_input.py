"""Whatever is sent: a clear message, nothing changed, nothing of it run."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from imagineo.ids import new_id
from playwright.sync_api import expect

from tests.support import lapses
from tests.support.browsers import Login, Visitor, mailed_link
from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account


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


@pytest.mark.parametrize("password", ["short", "12345678", "p" * 129])
def test_a_weak_password_makes_no_account(visit: Callable[..., Visitor], password: str) -> None:
    visitor = visit("guest")
    visitor.open("/signup")
    typed = {"name": "Eve", "email": f"eve.{len(password)}@example.com", "organization_name": "Eve's"}
    visitor.fill(**typed, password=password)
    visitor.click("Create the account")

    expect(visitor.page.locator("#password-wrong")).to_contain_text("10 to 128 characters")
    assert {name: visitor.page.input_value(f"#{name}") for name in typed} == typed
    visitor.open("/login")
    visitor.fill(email=typed["email"], password=password)
    visitor.click("Log in")
    expect(visitor.page.get_by_role("alert")).to_be_visible()


@pytest.mark.parametrize("why", ["expired", "used", "revoked", "replaced", "not whole", "unknown"])
def test_an_invitation_that_is_over_says_so_and_lets_nobody_in(
    visit: Callable[..., Visitor], platform: Platform, studio: Account, why: str
) -> None:
    email = f"{new_id('user')[-12:]}@example.com"
    made = _invited(studio, email)
    link, visitor = made["link"], visit("guest")
    match why:
        case "expired":
            lapses.expire_invitation(platform.ready["postgres_dsn"], made["id"])
        case "used":
            visit("guest").join(link, name="Grace Hopper", password="a compiler for words")
        case "revoked":
            assert studio.delete(f"/v1/organization/invitations/{made['id']}").status_code == 204
        case "replaced":
            _invited(studio, email)
        case "not whole":
            link = link[:-5]
        case "unknown":
            link = f"{link.partition('#')[0]}#{secrets.token_urlsafe(32)}"
    before = _members(studio)

    visitor.page.goto(link)

    expect(visitor.page.get_by_role("heading", name="This invitation opens nothing")).to_be_visible()
    expect(visitor.page.get_by_text("Ask whoever invited you for a new link.")).to_be_visible()
    token = link.partition("#")[2]
    answer = visitor.post("/invitation/accept", token=token, name="Eve", password="four words again here")
    assert answer.status >= 400
    assert "This invitation opens nothing" in answer.text()
    assert _members(studio) == before


def test_an_invitation_that_lapses_while_its_form_is_filled_in_lets_nobody_in(
    visit: Callable[..., Visitor], platform: Platform, studio: Account
) -> None:
    made, visitor = _invited(studio, f"{new_id('user')[-12:]}@example.com"), visit("guest")
    visitor.page.goto(made["link"])
    visitor.fill(name="Grace Hopper", password="short")
    visitor.click("Join")
    expect(visitor.page.locator("#password-wrong")).to_contain_text("10 to 128 characters")
    assert visitor.page.input_value("#name") == "Grace Hopper"
    before = _members(studio)
    lapses.expire_invitation(platform.ready["postgres_dsn"], made["id"])
    visitor.fill(password="a compiler for words")
    visitor.click("Join")

    expect(visitor.page.get_by_role("heading", name="This invitation opens nothing")).to_be_visible()
    assert _members(studio) == before


def test_an_expired_reset_link_changes_no_password(
    visit: Callable[..., Visitor], platform: Platform, new_member: Callable[[str], Login]
) -> None:
    login, visitor = new_member("viewer"), visit("guest")
    visitor.open("/forgot-password")
    visitor.fill(email=login.email)
    visitor.click("Send the link")
    link = eventually(lambda: mailed_link(platform, login.email), within_s=SURELY_S, what="the mail")
    lapses.expire_password_resets(platform.ready["postgres_dsn"], login.email)
    visitor.open(link)
    visitor.fill(new_password="another four words here")
    visitor.click("Set the password")

    expect(visitor.page.get_by_role("alert")).to_contain_text("unknown, used or expired. Ask for a new one.")
    visitor.log_in(login)


def test_a_form_of_a_removed_member_changes_nothing_and_says_that_the_session_ended(
    visit: Callable[..., Visitor], studio: Account, new_member: Callable[[str], Login]
) -> None:
    login = new_member("developer")
    member = visit("guest").log_in(login)
    member.open("/settings/api-keys")
    member.page.get_by_text("Create a key").click()
    member.fill(name="a key for later")
    before = len(studio.get("/v1/keys").json()["keys"])
    found = studio.get("/v1/organization/members", params={"limit": 100}).json()["members"]
    user_id = next(one["user_id"] for one in found if one["email"] == login.email)
    assert studio.delete(f"/v1/organization/members/{user_id}").status_code == 204

    def is_out() -> bool:
        return bool(member.context.request.get("/settings/account", max_redirects=0).status == 303)

    eventually(is_out, within_s=SURELY_S, what="the member's session ends")
    member.click("Create the key")
    expect(member.page.get_by_role("heading", name="You are logged out")).to_be_visible()
    expect(member.page.get_by_text("you are no longer a member")).to_be_visible()
    assert len(studio.get("/v1/keys").json()["keys"]) == before
    member.page.get_by_role("link", name="Log in").click()
    member.fill(email=login.email, password=login.password)
    member.click("Log in")
    expect(member.page.get_by_role("alert")).to_contain_text("no organization")


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


def test_a_form_of_ten_megabytes_is_refused_with_a_page(visit: Callable[..., Visitor], studio: Account) -> None:
    visitor = visit("owner")
    page = visitor.open("/settings/plan")
    before = studio.get("/v1/organization").json()
    # Hidden, so that the browser need not draw all of it.
    page.evaluate("Object.assign(document.getElementById('name'), { type: 'hidden', value: 'x'.repeat(10_000_000) })")
    visitor.click("Save")

    expect(page.get_by_role("heading", name="That is too much for this form")).to_be_visible()
    expect(page.get_by_text("Nothing was changed.")).to_be_visible()
    assert studio.get("/v1/organization").json() == before


def test_a_key_for_a_model_of_somebody_else_is_refused(visit: Callable[..., Visitor], studio: Account) -> None:
    visitor = visit("owner")
    visitor.open("/settings/api-keys")
    before = len(studio.get("/v1/keys").json()["keys"])
    foreign = "model_0000000000000000000000000a"
    answer = visitor.post("/settings/api-keys", name="theirs", scopes="models:read", allowed_models=foreign)

    assert answer.status == 404
    assert 'role="alert"' in answer.text()
    assert foreign in answer.text()
    assert 'value="theirs"' in answer.text()
    assert len(studio.get("/v1/keys").json()["keys"]) == before


def test_nobody_is_led_to_another_site_after_the_log_in(
    visit: Callable[..., Visitor], new_member: Callable[[str], Login]
) -> None:
    login, visitor = new_member("viewer"), visit("guest")
    for target in ("//evil.example", "/\\evil.example", "https://evil.example"):
        visitor.open(f"/login?next={target}")
        answer = visitor.post("/login", email=login.email, password=login.password, next=target)
        assert answer.headers["location"] == "/playground"


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


def _invited(studio: Account, email: str) -> dict[str, Any]:
    answer = studio.post("/v1/organization/invitations", {"email": email, "role": "viewer"})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _members(studio: Account) -> set[str]:
    found = studio.get("/v1/organization/members", params={"limit": 100}).json()["members"]
    return {member["email"] for member in found}
