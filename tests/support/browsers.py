"""A real browser on the dashboard: people who are logged in, and what their pages do wrong."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import Any, Self

import grpc
import pytest
from imagineo.ids import new_id
from imagineo.v1 import account_pb2, account_service_pb2, account_service_pb2_grpc
from playwright.sync_api import Browser, Page

from tests.support.platform import Platform
from tests.support.rest import Account

#: What `.ci/run` sets, so that a browser that is missing there fails.
REQUIRED = "IMAGINEO_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome")
PASSWORD = "four words are quite long"
ROLES = {
    "owner": account_pb2.ROLE_OWNER,
    "admin": account_pb2.ROLE_ADMIN,
    "developer": account_pb2.ROLE_DEVELOPER,
    "viewer": account_pb2.ROLE_VIEWER,
}


def chromium() -> str:
    """The browser of this machine; skips where there is none, unless it must be there."""
    path = next((found for name in NAMES if (found := shutil.which(name))), "")
    if not path and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and there is none of: {', '.join(NAMES)}")
    if not path:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    return path


@dataclass(frozen=True)
class Login:
    """What a person types."""

    email: str
    password: str = PASSWORD


def new_person(
    grpc_address: str, account: Account, role: str, *, name: str = "", is_administrator: bool = False
) -> Login:
    """A user with a role in the account's organization, as an operator makes one."""
    email = f"{role}.{new_id('user')[-12:]}@example.com"
    request = account_service_pb2.CreateUserRequest(
        email=email,
        password=PASSWORD,
        name=name or f"{role.capitalize()} Jones",
        organization_id=account.organization_id,
        role=ROLES[role],
        is_administrator=is_administrator,
    )
    with grpc.insecure_channel(grpc_address) as channel:
        account_service_pb2_grpc.AccountServiceStub(channel).CreateUser(request, timeout=20)
    return Login(email)


def mailed_link(platform: Platform, email: str, path: str = "/reset-password") -> str:
    """Where the newest letter to somebody leads that has a link to the path; empty: there is none yet."""
    for mail in sorted(platform.data.rglob("*.eml"), reverse=True):
        text = mail.read_text().replace("=\n", "").replace("=\r\n", "")
        if email in text and (found := re.search(rf"{path}#[A-Za-z0-9_-]{{43}}", text)):
            return found[0]
    return ""


class Visitor:
    """One person's browser: their cookies, one page, and all that it complained of. Close it when done."""

    def __init__(self, browser: Browser, url: str, *, state: Any = None, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(base_url=url, storage_state=state, **options)
        self.context.set_default_timeout(30_000)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        self.page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        # A refused form is answered with its status, which the browser notes as an error of its own.
        if message.type == "error" and "the server responded with a status of 4" not in message.text:
            self.complaints.append(message.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()
        assert self.complaints == []

    def open(self, path: str, *, status: int = 200) -> Page:
        """Go to a page, which must answer so."""
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.status == status, self.said()
        return self.page

    def log_in(self, login: Login) -> Self:
        """Log in by the form."""
        self.open("/login")
        self.page.get_by_label("Mail address").fill(login.email)
        self.page.get_by_label("Password").fill(login.password)
        self.click("Log in")
        self.page.wait_for_url("**/playground")
        return self

    def sign_up(self, organization: str) -> Login:
        """Become a new person with an organization of their own, by the form."""
        login = Login(f"nora.{new_id('user')[-12:]}@example.com")
        self.open("/signup")
        self.fill(name="Nora North", email=login.email, organization_name=organization, password=login.password)
        self.click("Create the account")
        self.page.wait_for_url("**/playground*")
        return login

    def join(self, link: str, **fields: str) -> Self:
        """Open an invitation's link and accept it."""
        self.page.goto(link)
        self.fill(**fields)
        self.click("Join")
        self.page.wait_for_url("**/playground*")
        return self

    def click(self, name: str, *, is_asked: bool = False) -> None:
        """Press a button, and agree where the page asks before it does it."""
        self.page.get_by_role("button", name=name, exact=True).first.click()
        if is_asked:
            self.agree()

    def agree(self) -> None:
        """Answer what the page asks before something is lost."""
        self.page.locator("#ask[open] #ask-yes").click()

    def fill(self, **fields: str) -> None:
        """Type into fields, by their ids."""
        for name, value in fields.items():
            self.page.fill(f"#{name}", value)

    def said(self) -> str:
        """The text of the page."""
        return self.page.inner_text("body")

    def csrf(self) -> str:
        """The token of the page's forms."""
        return str(self.page.get_attribute("meta[name=csrf-token]", "content"))

    def post(self, path: str, **form: str) -> Any:
        """Send a form past the page, with the page's token unless another is given."""
        return self.context.request.post(path, form={"csrf_token": self.csrf(), **form}, max_redirects=0)


#: What the browser itself measured, of what came out of its cache too.
_WEIGHT = """
[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ initiatorType }) => initiatorType !== "img")
  .reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0)
"""


def weight_bytes(page: Page) -> int:
    """What a page and all that it loads weigh, without its pictures."""
    return int(page.evaluate(_WEIGHT))
