"""Every state of every page that is worth a look: how it is reached, by whom, and what it answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from playwright.sync_api import expect

from tests.support import lapses, pages
from tests.support.browsers import PASSWORD, Visitor, mailed_link
from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account


@dataclass(frozen=True)
class Scene:
    """What the pages are about."""

    platform: Platform
    studio: Account
    named: dict[str, str]
    """What stands in paths, such as `run_id`."""
    stopped_run_id: str

    def invite(self, email: str) -> dict[str, Any]:
        """An invitation of the studio as a viewer, with its link."""
        answer = self.studio.post("/v1/organization/invitations", {"email": email, "role": "viewer"})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made


#: What sign-up and reset refuse.
WEAK = {"name": "Ada", "email": "ada@example.com", "organization_name": "Engine & Co", "password": "short"}
UNKNOWN = {"token": secrets.token_urlsafe(32), "new_password": PASSWORD}

Reach = Callable[[Visitor, Scene], object]


@dataclass(frozen=True)
class Sight:
    """One of them."""

    path: str
    """Where it is opened; a route of the dashboard's, whose picture this then is."""
    name: str = ""
    """What its pictures are called; empty: as the path."""
    who: str = "administrator"
    status: int = 200
    then: Reach | None = None
    """What is done there until it is seen."""
    opens: Callable[[Scene], str] | None = None
    """What is opened instead of the path, such as a link with a token."""

    @property
    def label(self) -> str:
        """The name in file names."""
        plain = self.path.strip("/").replace("/", "-").translate(dict.fromkeys(map(ord, "{}"), None))
        return self.name or plain

    def reach(self, visitor: Visitor, scene: Scene) -> None:
        """Go there."""
        visitor.page.goto("about:blank")  # an address that differs behind the # only is not loaded anew
        visitor.open(self.opens(scene) if self.opens else pages.address(self.path, scene.named), status=self.status)
        if self.then:
            self.then(visitor, scene)


def filled(button: str, **fields: str) -> Reach:
    """Fields are filled in and sent."""

    def reach(visitor: Visitor, _scene: Scene) -> None:
        visitor.page.evaluate("for (const form of document.forms) form.noValidate = true")
        for details in visitor.page.locator("details.card:not([open]) > summary").all():
            details.click()
        visitor.fill(**fields)
        with visitor.page.expect_navigation():
            visitor.click(button)

    return reach


def says(heading: str) -> Reach:
    """A heading is waited for."""
    return lambda visitor, _scene: expect(visitor.page.get_by_role("heading", name=heading)).to_be_visible()


def _of_an_invitation(scene: Scene) -> str:
    return str(scene.invite("opened@example.com")["link"])


def _of_an_expired_invitation(scene: Scene) -> str:
    made = scene.invite("expired@example.com")
    lapses.expire_invitation(scene.platform.ready["postgres_dsn"], made["id"])
    return str(made["link"])


def _too_often(visitor: Visitor, scene: Scene) -> None:
    for _ in range(3):
        visitor.post("/forgot-password", email="often@example.com")
    filled("Send the link", email="often@example.com")(visitor, scene)


def _mailed(visitor: Visitor, scene: Scene) -> None:
    email = scene.platform.ready["dashboard"]["email"]
    visitor.post("/forgot-password", email=email)
    link = eventually(lambda: mailed_link(scene.platform, email), within_s=SURELY_S, what="the mail")
    visitor.page.goto("about:blank")
    visitor.open(link)
    expect(visitor.page.locator("#new_password")).to_be_visible()


def _stale(visitor: Visitor, scene: Scene) -> None:
    visitor.page.evaluate("for (const field of document.getElementsByName('csrf_token')) field.value = '0'.repeat(64)")
    filled("Save", name="Stolen")(visitor, scene)


def _in_haste(visitor: Visitor, scene: Scene) -> None:
    cookies = {cookie["name"]: cookie["value"] for cookie in visitor.context.cookies()}
    with httpx.Client(base_url=scene.platform.ready["url"], cookies=cookies, trust_env=False) as tabs:
        answers = (tabs.head("/settings/account").status_code for _ in range(1_000))
        assert next(status for status in answers if status != httpx.codes.OK) == httpx.codes.TOO_MANY_REQUESTS
    visitor.open("/generations", status=429)


def _asked(visitor: Visitor, _scene: Scene) -> None:
    visitor.click("Delete")
    expect(visitor.page.get_by_role("dialog")).to_be_visible()


#: `newcomer` and `hasty` have just signed up; `traveller` works in two organizations.
SIGHTS = (
    Sight("/login", who="guest"),
    Sight("/login", "login-refused", "guest", then=filled("Log in", email="ada@example.com", password="not mine")),
    Sight("/signup", who="guest"),
    Sight("/signup", "signup-refused", "guest", then=filled("Create the account", **WEAK)),
    Sight("/forgot-password", who="guest"),
    Sight("/forgot-password", "forgot-password-sent", "guest", then=filled("Send the link", email="ada@example.com")),
    Sight("/forgot-password", "forgot-password-429", "guest", then=_too_often),
    Sight("/reset-password", who="guest"),
    Sight("/reset-password", "reset-password-opened", "guest", then=_mailed),
    Sight("/reset-password", "reset-password-refused", "guest", then=filled("Set the password", **UNKNOWN)),
    Sight("/verify-email", who="guest"),
    Sight("/verify-email", "verify-email-refused", "guest", then=filled("Confirm it", token=secrets.token_urlsafe(32))),
    Sight("/invitation", who="guest"),
    Sight("/invitation", "invitation-opened", "guest", opens=_of_an_invitation, then=says("Join Test")),
    Sight("/invitation", "invitation-over", "guest", opens=_of_an_expired_invitation, then=says("This invitation")),
    Sight("/playground"),
    Sight("/playground", "playground-empty", "newcomer"),
    Sight("/playground", "playground-viewer", "viewer"),
    Sight("/generations"),
    Sight("/generations", "generations-empty", "newcomer"),
    Sight("/generations", "generations-nothing-fits", opens=lambda _: "/generations?status=expired"),
    Sight("/generations/{run_id}"),
    Sight("/generations/{run_id}", "generation-stopped", opens=lambda scene: f"/generations/{scene.stopped_run_id}"),
    Sight("/generations/{run_id}", "generation-asked", then=_asked),
    Sight("/models"),
    Sight("/models", "models-nothing-fits", opens=lambda _: "/models?q=nothing+like+it"),
    Sight("/models/{model_id}"),
    Sight("/batches"),
    Sight("/batches", "batches-empty", "newcomer"),
    Sight("/batches", "batches-refused", then=filled("Queue the batch", prompts="a red apple", weights="one")),
    Sight("/batches/{batch_id}"),
    Sight("/settings/api-keys"),
    Sight("/settings/api-keys", "settings-api-keys-empty", "newcomer"),
    Sight("/settings/api-keys", "settings-api-keys-made", then=filled("Create the key", name="nightly batch")),
    Sight("/settings/members"),
    Sight("/settings/members", "settings-members-invited", then=filled("Invite", email="invited@example.com")),
    Sight("/settings/usage"),
    Sight("/settings/usage", "settings-usage-empty", "newcomer"),
    Sight("/settings/webhooks"),
    Sight("/settings/webhooks", "settings-webhooks-empty", "newcomer"),
    Sight(
        "/settings/webhooks",
        "settings-webhooks-made",
        then=filled("Add the webhook", url="https://hooks.example.com/2"),
    ),
    Sight("/settings/webhooks/{webhook_id}"),
    Sight("/settings/plan"),
    Sight("/settings/plan", "error-stale-form", then=_stale),
    Sight("/settings/audit"),
    Sight("/settings/audit", "settings-audit-empty", opens=lambda _: "/settings/audit?action=nothing.done"),
    Sight("/settings/account"),
    Sight("/settings/account", "settings-account-organizations", "traveller"),
    Sight("/admin"),
    Sight("/admin", "admin-nothing-fits", opens=lambda _: "/admin?q=nothing+like+it"),
    Sight("/admin", "error-403", "viewer", status=403),
    Sight("/settings/account", "error-429", "hasty", then=_in_haste),
    Sight("/nothing/here", "error-404", status=404),
    Sight("/nothing/here", "error-404-guest", "guest", status=404),
)
