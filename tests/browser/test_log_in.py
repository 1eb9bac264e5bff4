"""Log-in and passwords: coming back to the page that was asked for, a forgotten password, a changed one."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.browsers import Login, Visitor, mailed_link
from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually


def test_who_logs_in_comes_to_the_page_that_was_asked_for(
    visit: Callable[..., Visitor], new_member: Callable[[str], Login]
) -> None:
    visitor, login = visit("guest"), new_member("viewer")
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

    link = eventually(lambda: mailed_link(platform, login.email), within_s=SURELY_S, what="the mail")
    visitor.open(link)
    assert "#" not in visitor.page.url
    visitor.fill(new_password="another four words here")
    visitor.click("Set the password")
    expect(visitor.page.get_by_role("status")).to_contain_text("Your password is set")

    visitor.log_in(Login(login.email, "another four words here"))
    assert link.partition("#")[2] not in platform.logs()


def test_who_signs_up_is_asked_to_confirm_the_address_until_the_mailed_link_was_opened(
    visit: Callable[..., Visitor], platform: Platform
) -> None:
    visitor = visit("guest")
    login = visitor.sign_up("Studio Nord")
    visitor.open("/generations")
    asked = visitor.page.get_by_text(f"Confirm your mail address by the link that was sent to {login.email}.")
    expect(asked).to_be_visible()
    visitor.click("Send it again")
    expect(visitor.page.get_by_role("status")).to_contain_text("A link is on its way")

    link = eventually(lambda: mailed_link(platform, login.email, "/verify-email"), within_s=SURELY_S, what="the mail")
    visitor.open(link)
    expect(visitor.page.get_by_text("Your mail address is confirmed.")).to_be_visible()
    visitor.open("/generations")
    expect(asked).to_have_count(0)
    stranger = visit("guest")
    stranger.open(link)
    expect(stranger.page.get_by_role("alert")).to_contain_text("unknown, used or expired")
    assert link.partition("#")[2] not in platform.logs()


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

    eventually(second_is_out, within_s=SURELY_S, what="the other session has ended")
