"""A person with a browser alone: sign up, make a key, use it, revoke it, log out, come back."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
from imagineo.ids import new_id
from imagineo.keys import is_well_formed
from playwright.sync_api import expect

from tests.support.browsers import PASSWORD, Login, Visitor
from tests.support.platform import Platform, eventually


def signed_up(visitor: Visitor, organization: str) -> Login:
    login = Login(f"ada.{new_id('user')[-12:]}@example.com")
    visitor.open("/")
    visitor.page.get_by_role("link", name="Create an account").click()
    visitor.fill(name="Ada Lovelace", email=login.email, organization_name=organization, password=PASSWORD)
    visitor.click("Create the account")
    visitor.page.wait_for_url("**/playground*")
    return login


def test_a_person_signs_up_makes_a_key_uses_it_and_revokes_it(
    visit: Callable[..., Visitor], platform: Platform
) -> None:
    visitor = visit("guest")
    signed_up(visitor, "Engine & Co")

    visitor.open("/settings/api-keys")
    visitor.fill(name="my first")
    visitor.click("Create the key")
    secret = visitor.page.inner_text("#new-key")
    assert is_well_formed(secret)
    visitor.open("/settings/api-keys")
    assert secret not in visitor.page.content()

    def status() -> int:
        url = f"{platform.ready['url']}/v1/base-models"
        return httpx.get(url, headers={"X-API-Key": secret}, trust_env=False, timeout=10).status_code

    assert status() == 200
    visitor.click("Revoke")
    expect(visitor.page.get_by_role("status")).to_contain_text("revoked")
    eventually(lambda: status() == 401, within_s=10, what="the key is refused")
    assert secret not in platform.logs()


def test_who_logs_out_comes_back_by_the_password_to_the_page_that_was_asked_for(visit: Callable[..., Visitor]) -> None:
    visitor = visit("guest")
    login = signed_up(visitor, "Studio Nord")
    visitor.click("Log out")
    expect(visitor.page).to_have_url(re.compile("/login"))

    visitor.open("/settings/usage")
    expect(visitor.page).to_have_url(re.compile("/login"))
    visitor.fill(email=login.email, password=login.password)
    visitor.click("Log in")

    expect(visitor.page).to_have_url(re.compile("/settings/usage$"))


def test_a_forgotten_password_is_set_anew_by_the_link_of_the_mail(
    visit: Callable[..., Visitor], platform: Platform, new_member: Callable[[str], Login]
) -> None:
    login = new_member("developer")
    visitor = visit("guest")
    visitor.open("/login")
    visitor.page.get_by_role("link", name="Forgot your password?").click()
    visitor.fill(email=login.email)
    visitor.click("Send the link")
    expect(visitor.page.get_by_role("heading", name="Look into your mail")).to_be_visible()

    link = eventually(lambda: _mailed_link(platform, login.email), within_s=20, what="the mail")
    visitor.open(link)
    assert "#" not in visitor.page.url
    visitor.fill(new_password="another four words here")
    visitor.click("Set the password")
    expect(visitor.page.get_by_role("status")).to_contain_text("Your password is set")

    visitor.log_in(Login(login.email, "another four words here"))
    assert link.partition("#")[2] not in platform.logs()


def _mailed_link(platform: Platform, email: str) -> str:
    for mail in sorted(platform.data.rglob("*.eml"), reverse=True):
        text = mail.read_text().replace("=\n", "").replace("=\r\n", "")
        if email in text and (found := re.search(r"/reset-password#[A-Za-z0-9_-]{43}", text)):
            return found[0]
    return ""


def test_a_password_is_changed_and_other_sessions_end(
    visit: Callable[..., Visitor], new_member: Callable[[str], Login]
) -> None:
    login = new_member("developer")
    first, second = visit("guest").log_in(login), visit("guest").log_in(login)

    first.open("/settings/account")
    first.fill(old_password="not the password", new_password="yet another four words")
    first.click("Change it")
    expect(first.page.locator("#old_password-wrong")).to_contain_text("not your password")
    first.fill(old_password=login.password, new_password="yet another four words")
    first.click("Change it")
    expect(first.page.get_by_role("status")).to_contain_text("Your password is changed")

    def second_is_out() -> bool:
        second.page.goto("/generations")
        return "/login" in second.page.url

    eventually(second_is_out, within_s=10, what="the other session has ended")
