"""People on the local platform: the demo user, sessions on `/v1`, members; what is refused, by which error."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import httpx
import pytest
from imagineo import tokens
from imagineo.ids import new_id
from imagineo.permissions import ROLES

from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account
from tests.support.tenants import log_in, new_user


class Person:
    """A member in a browser."""

    def __init__(self, platform: Platform, organization_id: str, role: str) -> None:
        self.email = f"{role}-{uuid.uuid4().hex}@example.org"
        self.user_id = new_user(platform.ready, organization_id, self.email, ROLES[role])
        token = log_in(platform.ready, self.email)
        self.http = httpx.Client(
            base_url=platform.ready["url"],
            headers={"X-CSRF-Token": tokens.csrf_token(token)},
            cookies={"imagineo_session": token},
            timeout=30,
            trust_env=False,
        )


@pytest.fixture
def join(platform: Platform, account: Account) -> Iterator:
    """Gives a new member of the account's organization."""
    joined: list[Person] = []

    def one(role: str) -> Person:
        joined.append(Person(platform, account.organization_id, role))
        return joined[-1]

    yield one
    for person in joined:
        person.http.close()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_the_demo_user_can_log_in_and_runs_the_platform(platform: Platform) -> None:
    demo = platform.ready["dashboard"]
    with httpx.Client(base_url=platform.ready["url"], trust_env=False, timeout=30) as http:
        page = http.get("/login")
        [csrf] = {part.split('"')[0] for part in page.text.split('name="csrf_token" value="')[1:]}
        answer = http.post("/login", data={**demo, "csrf_token": csrf})
        assert answer.status_code == 303, answer.text
        assert "httponly" in answer.headers["set-cookie"].lower()
        assert http.get("/v1/organization").json()["plan"] == "premium"
        assert http.get("/admin").status_code == 200


def test_a_viewer_sees_and_changes_nothing(account: Account, join) -> None:
    viewer = join("viewer").http
    assert viewer.get("/v1/generations").status_code == 200
    body = account.body()
    assert refusal(viewer.post("/v1/generate", json=body)) == (403, "permission_denied")
    assert refusal(viewer.get("/v1/organization/audit-log")) == (403, "permission_denied")
    assert viewer.get("/v1/generations").json()["generations"] == []


def test_a_developer_draws_with_a_session_and_the_request_counts(account: Account, join) -> None:
    developer = join("developer").http
    answer = developer.post("/v1/generate", json=account.body())
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["X-RateLimit-Remaining"]) < int(answer.headers["X-RateLimit-Limit"])
    assert account.until(answer.json()["run_id"])["status"] == "completed"


def test_a_removed_members_session_ends(account: Account, join) -> None:
    person = join("admin")
    assert person.http.get("/v1/limits").status_code == 200
    assert account.delete(f"/v1/organization/members/{person.user_id}").status_code == 204
    eventually(
        lambda: refusal(person.http.get("/v1/limits")) == (401, "invalid_session"),
        within_s=SURELY_S,
        what="the session is refused",
    )
    assert account.delete(f"/v1/organization/members/{person.user_id}").status_code == 404


def test_open_streams_end_with_the_membership_the_session_or_the_key_and_not_before(account: Account, join) -> None:
    made = account.post("/v1/keys", {"name": "watcher"}).json()
    removed, leaving = join("developer"), join("developer")
    run_id = account.submit(width=768, height=768, steps=100)
    with contextlib.ExitStack() as opened:
        holder = opened.enter_context(Account(account.url, made["secret"]))
        ending = [_watching(opened, http, run_id) for http in (removed.http, leaving.http, holder.http)]
        kept = _watching(opened, account.http, run_id)

        assert account.delete(f"/v1/organization/members/{removed.user_id}").status_code == 204
        csrf = leaving.http.headers["X-CSRF-Token"]
        assert leaving.http.post("/logout", data={"csrf_token": csrf}).status_code == 303
        assert account.delete(f"/v1/keys/{made['id']}").status_code == 204

        for lines in ending:
            assert not any('"status":"canceled"' in line for line in lines)  # read until the stream ends
        assert account.generation(run_id)["status"] in ("queued", "running")
        account.post(f"/v1/generations/{run_id}/cancel")
        assert any('"status":"canceled"' in line for line in kept)


def _watching(opened: contextlib.ExitStack, http: httpx.Client, run_id: str) -> Iterator[str]:
    """The lines of a run's stream, after the first event."""
    answer = opened.enter_context(http.stream("GET", f"/v1/generations/{run_id}/events", timeout=60))
    assert answer.status_code == 200
    lines = answer.iter_lines()
    next(line for line in lines if line.startswith("data:"))
    return lines


def test_members_are_listed_changed_and_the_last_owner_stays(account: Account, join) -> None:
    owner, viewer = join("owner"), join("viewer")
    listed = account.get("/v1/organization/members").json()["members"]
    assert {one["user_id"]: one["role"] for one in listed} == {owner.user_id: "owner", viewer.user_id: "viewer"}
    path = f"/v1/organization/members/{viewer.user_id}"
    assert owner.http.patch(path, json={"role": "admin"}).json()["role"] == "admin"
    wrong = owner.http.patch(path, json={"role": "king"})
    assert refusal(wrong) == (400, "invalid_parameter")
    assert wrong.json()["error"]["param"] == "role"
    last = owner.http.delete(f"/v1/organization/members/{owner.user_id}")
    assert refusal(last) == (409, "failed_precondition")
    assert refusal(owner.http.patch("/v1/organization/members/nobody", json={"role": "admin"})) == (404, "not_found")


def test_an_invitation_is_shown_once_and_revoked(account: Account, join) -> None:
    owner = join("owner").http
    made = owner.post("/v1/organization/invitations", json={"email": "bo@example.org", "role": "viewer"})
    assert made.status_code == 200, made.text
    token = made.json()["link"].partition("/invitation#")[2]
    assert tokens.is_well_formed(token)
    listed = owner.get("/v1/organization/invitations")
    assert token not in listed.text
    assert [one["status"] for one in listed.json()["invitations"]] == ["open"]
    assert owner.delete(f"/v1/organization/invitations/{made.json()['id']}").status_code == 204
    assert owner.get("/v1/organization/invitations").json()["invitations"][0]["status"] == "revoked"
    wrong = owner.post("/v1/organization/invitations", json={"email": "nobody", "role": "viewer"})
    assert refusal(wrong) == (400, "invalid_parameter")
    assert wrong.json()["error"]["param"] == "email"
    actions = [one["action"] for one in owner.get("/v1/organization/audit-log").json()["entries"]]
    assert actions[:2] == ["invitation.revoked", "invitation.created"]


def test_a_key_gives_no_role_that_could_do_more(account: Account, join) -> None:
    viewer = join("viewer")
    made = account.post("/v1/keys", {"name": "narrow", "scopes": ["members:read", "members:write"]}).json()
    headers = {"X-API-Key": made["secret"]}
    path = f"/v1/organization/members/{viewer.user_id}"
    refused = httpx.patch(f"{account.url}{path}", json={"role": "admin"}, headers=headers, trust_env=False)
    assert refusal(refused) == (403, "permission_denied")


def test_a_key_for_a_foreign_model_is_refused_and_not_made(platform: Platform, account: Account) -> None:
    before = [one["id"] for one in account.get("/v1/keys").json()["keys"]]
    missing = new_id("model")
    refused = account.post("/v1/keys", {"name": "foreign", "allowed_models": [account.lora(), missing]})
    assert refusal(refused) == (404, "model_not_found")
    assert refused.json()["error"]["param"] == "allowed_models[1]"
    assert [one["id"] for one in account.get("/v1/keys").json()["keys"]] == before


@pytest.mark.parametrize("cookie", ["short", tokens.new_token()])
def test_a_session_that_is_none_is_refused(platform: Platform, cookie: str) -> None:
    answer = httpx.get(
        f"{platform.ready['url']}/v1/limits", headers={"Cookie": f"imagineo_session={cookie}"}, trust_env=False
    )
    assert refusal(answer) == (401, "invalid_session")
    assert answer.headers["WWW-Authenticate"]
