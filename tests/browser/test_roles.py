"""Who may not do a thing sees no control for it, and is refused where the form is sent all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from imagineo import permissions
from imagineo.v1 import account_pb2
from playwright.sync_api import expect

from services.gateway.dashboard.routes import PAGES
from tests.support.browsers import Login, Visitor
from tests.support.deadlines import SURELY_S
from tests.support.platform import eventually
from tests.support.rest import Account

VIEWER = permissions.PERMISSIONS_OF[account_pb2.ROLE_VIEWER]
#: What everybody may do with what is their own.
OWN = ("/logout", "/settings/account")
#: Names in paths that are nobody's.
NOBODYS = {
    "run_id": "gen_0000000000000000000000000a",
    "model_id": "model_0000000000000000000000000a",
    "batch_id": "batch_0000000000000000000000000a",
    "key_id": "key_0000000000000000000000000a",
    "user_id": "user_0000000000000000000000000a",
    "invitation_id": "inv_0000000000000000000000000a",
    "webhook_id": "hook_0000000000000000000000000a",
    "delivery_id": "whd_0000000000000000000000000a",
    "organization_id": "org_0000000000000000000000000a",
    "session_id": "sess_0000000000000000000000000a",
}


def test_a_viewer_sees_pictures_and_no_control_to_change_them(visit: Callable[..., Visitor]) -> None:
    visitor = visit("viewer")
    page = visitor.open("/generations")
    expect(page.locator(".shot img").first).to_be_visible()
    page.locator(".shot").first.click()
    expect(page.get_by_role("heading", name="Parameters")).to_be_visible()
    seen = [page.url]
    seen += ["/playground", "/models", "/batches", "/settings/members", "/settings/usage", "/settings/plan"]

    for address in seen:
        visitor.open(address)
        actions = [form.get_attribute("action") for form in page.locator("form[method=post]").all()]
        assert [action for action in actions if not action.startswith(OWN)] == [], address
    visitor.open("/playground")
    expect(page.get_by_role("button", name="Draw")).to_have_count(0)


def test_a_viewer_who_sends_the_forms_all_the_same_is_refused_every_one(visit: Callable[..., Visitor]) -> None:
    visitor = visit("viewer")
    visitor.open("/generations")
    refused = [page for page in PAGES if page.method == "POST" and page.permission and page.permission not in VIEWER]
    assert len(refused) > 15

    for page in refused:
        answer = visitor.post(page.path.format(**NOBODYS))
        assert answer.status == 403, page.path
        assert "Your role does not allow this" in answer.text()


@pytest.mark.parametrize("path", ["/settings/api-keys", "/settings/webhooks", "/settings/audit", "/admin"])
def test_a_viewer_is_told_why_a_page_is_closed(visit: Callable[..., Visitor], path: str) -> None:
    visitor = visit("viewer")

    visitor.open(path, status=403)

    assert "Ask an owner or admin" in visitor.said()


def test_a_person_of_two_organizations_works_in_either(visit: Callable[..., Visitor], studio: Account) -> None:
    visitor = visit("guest")
    login = visitor.sign_up("Studio Nord")
    run = studio.get("/v1/generations", params={"status": "completed"}).json()["generations"][0]
    visitor.open(f"/generations/{run['run_id']}", status=404)
    made = studio.post("/v1/organization/invitations", {"email": login.email, "role": "viewer"}).json()
    page = visitor.join(made["link"], password=login.password).page
    expect(page.locator(".rail-foot .who .muted")).to_have_text("Test · viewer")
    visitor.open(f"/generations/{run['run_id']}")

    visitor.open("/settings/account")
    page.get_by_role("row", name="Studio Nord").get_by_role("button", name="Work here").click()
    expect(page.locator(".rail-foot .who .muted")).to_have_text("Studio Nord · owner")
    expect(page.get_by_role("button", name="Draw")).to_be_visible()
    visitor.open(f"/generations/{run['run_id']}", status=404)


def test_a_role_is_changed_and_felt(visit: Callable[..., Visitor], new_member: Callable[[str], Login]) -> None:
    login = new_member("viewer")
    owner, member = visit("owner"), visit("guest").log_in(login)
    row = owner.open("/settings/members").get_by_role("row", name=login.email)
    row.get_by_label("Role of").select_option("developer")
    row.get_by_role("button", name="Change").click()
    expect(owner.page.get_by_role("status")).to_contain_text("The role is changed")

    def may_draw() -> bool:
        member.page.goto("/playground")
        return member.page.get_by_role("button", name="Draw").count() == 1

    eventually(may_draw, within_s=SURELY_S, what="the member may draw")


def test_those_who_run_the_platform_see_it_and_change_a_plan(visit: Callable[..., Visitor]) -> None:
    visitor = visit("administrator")
    page = visitor.open("/admin?q=Demo+(free)")

    expect(page.get_by_role("table", name="Workers")).to_be_visible()
    row = page.get_by_role("row", name="Demo (free)").locator("td").all_inner_texts()
    assert row[2:4] == ["0", "1"]  # members and keys
    page.get_by_label("Plan of Demo (free)").select_option("basic")
    visitor.click("Change")
    expect(page.get_by_role("status").first).to_contain_text("The plan is changed")
    visitor.open("/admin?q=Demo+(free)")
    assert page.input_value("select[name=plan]") == "basic"
