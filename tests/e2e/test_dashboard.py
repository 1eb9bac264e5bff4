"""The dashboard as far as no scripts are needed: its own limit, log-ins, what ends with a member, and bad input."""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import uuid
from collections.abc import Callable, Iterator

import asyncpg
import grpc
import httpx
import pytest
from imagineo import tokens
from imagineo.permissions import ROLES
from imagineo.v1 import account_pb2, auth_service_pb2, auth_service_pb2_grpc

from services.gateway.dashboard.routes import PAGES
from tests.support.browsing import Browsing
from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account
from tests.support.tenants import LORA, PASSWORD, new_user

SCRIPT = "<script>document.title='pwned'</script>"
READ = account_pb2.PERMISSION_ORGANIZATION_READ


@pytest.fixture
def browse(platform: Platform, account: Account) -> Iterator[Callable[..., Browsing]]:
    """Logs a new member of an organization in, of the account's unless another is named."""
    with contextlib.ExitStack() as stack:

        def one(role: str, organization_id: str = "") -> Browsing:
            email = f"{role}-{uuid.uuid4().hex}@example.org"
            new_user(platform.ready, organization_id or account.organization_id, email, ROLES[role])
            return stack.enter_context(Browsing(platform.ready["url"])).log_in(email, PASSWORD)

        yield one


def load_often(platform: Platform, browsing: Browsing, times: int) -> None:
    """Count pages as the gateway does, without making them."""
    check = auth_service_pb2.Check(session_sha256=tokens.digest(browsing.session), permission=READ, is_page=True)
    with grpc.insecure_channel(platform.ready["grpc"]["auth"]) as channel:
        auth_service_pb2_grpc.AuthServiceStub(channel).Authorize(
            auth_service_pb2.AuthorizeRequest(checks=[check] * times), timeout=20
        )


def test_pages_polls_and_streams_use_up_their_persons_minute_and_not_the_free_plans(
    platform: Platform, browse: Callable[..., Browsing]
) -> None:
    with platform.account("free", requests_per_minute=0) as free:
        run_id = free.submit({"Prefer": "wait=30"})
        left = int(free.get("/v1/models").headers["X-RateLimit-Remaining"])
        viewer, owner = browse("viewer", free.organization_id), browse("owner", free.organization_id)
        for _ in range(12):
            assert viewer.get("/settings/members").status_code == 200
            assert viewer.get("/generations", headers={"HX-Request": "true"}).status_code == 200
            assert viewer.get(f"/v1/generations/{run_id}/events").status_code == 200
        assert int(free.get("/v1/models").headers["X-RateLimit-Remaining"]) == left - 1

        load_often(platform, viewer, 240 - 36)
        for path, headers in (("/playground", {}), ("/batches", {"HX-Request": "true"})):
            over = viewer.get(path, headers=headers)
            assert over.status_code == 429
            assert 1 <= int(over.headers["Retry-After"]) <= 60
            assert "Too many requests" in over.text
            assert "You asked for more than 240 pages in a minute." in over.text
            assert re.search(r"Try again in \d+ seconds?\.", over.text)
        posted = viewer.http.post("/settings/account/password", data={"csrf_token": tokens.csrf_token(viewer.session)})
        assert posted.status_code == 429
        stream = viewer.get(f"/v1/generations/{run_id}/events")
        assert (stream.status_code, stream.json()["error"]["code"]) == (429, "rate_limited")
        assert owner.get("/playground").status_code == 200
        assert int(free.get("/v1/models").headers["X-RateLimit-Remaining"]) == left - 2


def test_a_second_log_in_ends_the_session_that_the_browser_had(browse: Callable[..., Browsing]) -> None:
    browsing, other = browse("viewer"), browse("admin")
    email = browsing.get("/v1/organization/members").json()["members"][0]["email"]
    before = browsing.session

    browsing.log_in(email, PASSWORD)

    assert browsing.session != before
    assert browsing.get("/playground").status_code == 200
    assert other.get("/playground").status_code == 200
    with Browsing(str(browsing.http.base_url)) as old:
        old.http.cookies.set("imagineo_session", before)
        answer = old.get("/v1/limits")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_session")


def test_keys_end_with_the_member_who_made_them_and_the_page_says_which(
    account: Account, browse: Callable[..., Browsing]
) -> None:
    owner, developer = browse("owner"), browse("developer")
    made = developer.post("/settings/api-keys", name="nightly run", scopes="models:read")
    secret = made.text.partition("imag_")[2].partition("<")[0].partition('"')[0].strip()
    headers = {"X-API-Key": f"imag_{secret}"}
    asked = httpx.get(f"{account.url}/v1/models", headers=headers, trust_env=False)
    assert asked.status_code == 200, asked.text
    [key] = [one for one in account.get("/v1/keys").json()["keys"] if one["name"] == "nightly run"]
    members = account.get("/v1/organization/members").json()["members"]
    [maker] = [one for one in members if one["role"] == "developer"]
    assert key["created_by"] == maker["user_id"]
    assert "Keys that end with the membership: nightly run" in owner.get("/settings/members").text
    assert "made by Somebody" in owner.get("/settings/api-keys").text

    done = owner.post("/settings/members", f"/settings/members/{maker['user_id']}/remove")

    assert done.status_code == 303, done.text
    assert "Keys that they made are revoked" in owner.get(done.headers["location"]).text
    eventually(
        lambda: httpx.get(f"{account.url}/v1/models", headers=headers, trust_env=False).status_code == 401,
        within_s=SURELY_S,
        what="the key is refused",
    )
    assert "nightly run" in owner.get("/settings/audit?action=key.revoked").text
    page = developer.get("/playground")
    assert (page.status_code, page.headers["location"][:7]) == (303, "/login?")
    posted = developer.http.post("/settings/plan", data={"name": "Stolen"})
    assert posted.status_code == 401
    assert "You are logged out" in posted.text


def test_scripts_in_names_and_in_what_a_lora_tells_of_itself_are_shown_and_never_run(
    platform: Platform, account: Account
) -> None:
    email = f"{uuid.uuid4().hex}@example.org"
    with Browsing(platform.ready["url"]) as browsing:
        form = {"name": SCRIPT, "email": email, "organization_name": SCRIPT, "password": PASSWORD}
        joined = browsing.post("/signup", **form)
        assert joined.status_code == 303, joined.text
        headers = {"X-CSRF-Token": tokens.csrf_token(browsing.session)}
        data = {"name": SCRIPT, "base_model_id": account.base_model(), "description": SCRIPT, "trigger_words": SCRIPT}
        made = browsing.http.post("/v1/models", headers=headers, data=data, files={"file": LORA.read_bytes()})
        assert made.status_code == 200, made.text
        model_id = made.json()["id"]
        shown = 0
        for page in PAGES:
            if page.method != "GET" or "{" in page.path or page.path in ("/", "/admin"):
                continue
            text = browsing.get(page.path).text
            assert SCRIPT not in text, page.path
            shown += html.escape(SCRIPT) in text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
        assert shown > 10
        place = f"/models/{model_id}"
        for answer in (
            browsing.get(place),
            browsing.get(f"/playground?model={model_id}"),
            browsing.get(f"/models?q={SCRIPT}"),
            browsing.post(place, name=SCRIPT, description=SCRIPT, trigger_words=SCRIPT, sharing=SCRIPT),
            browsing.post("/settings/plan", name=SCRIPT * 5),
        ):
            assert SCRIPT not in answer.text, answer.request.url
            assert "&lt;script&gt;" in answer.text, answer.request.url
        assert account.get(f"/v1/models/{model_id}").status_code == 404


@pytest.mark.parametrize("field", ["name", "email", "organization_name"])
def test_scripts_in_a_refused_sign_up_are_shown_and_never_run(platform: Platform, field: str) -> None:
    with Browsing(platform.ready["url"]) as browsing:
        form = {"name": "Eve", "email": "eve@example.org", "organization_name": "Eve's", "password": "qwertyuiop"}
        answer = browsing.post("/signup", **{**form, field: SCRIPT})
        assert answer.status_code == 400
        assert SCRIPT not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_a_weak_password_is_refused_beside_its_field_and_makes_nobody(platform: Platform) -> None:
    email = f"{uuid.uuid4().hex}@example.org"
    with Browsing(platform.ready["url"]) as browsing:
        form = {"name": "Eve", "email": email, "organization_name": "Eve's"}
        for password, words in (("short", "10 to 128 characters"), ("qwertyuiop", "harder to guess")):
            answer = browsing.post("/signup", password=password, **form)
            assert answer.status_code == 400
            assert words in answer.text
            assert password not in answer.text
        refused = browsing.post("/login", email=email, password="qwertyuiop")
        assert refused.status_code == 401


async def expire(dsn: str, invitation_id: str) -> None:
    """Let an invitation's time run out."""
    connection = await asyncpg.connect(dsn)
    try:
        done = await connection.execute(
            "UPDATE auth.invitations SET expires_at = now() WHERE invitation_id = $1", invitation_id
        )
    finally:
        await connection.close()
    assert done == "UPDATE 1"


def test_an_invitation_that_is_used_revoked_expired_or_unknown_opens_a_page_that_says_so(
    platform: Platform, browse: Callable[..., Browsing]
) -> None:
    owner = browse("owner")

    def invited() -> tuple[str, str]:
        email = f"{uuid.uuid4().hex}@example.org"
        headers = {"X-CSRF-Token": tokens.csrf_token(owner.session)}
        body = {"email": email, "role": "viewer"}
        made = owner.http.post("/v1/organization/invitations", headers=headers, json=body).json()
        return made["id"], made["link"].partition("#")[2]

    _, used = invited()
    revoked_id, revoked = invited()
    owner.post("/settings/members", f"/settings/invitations/{revoked_id}/revoke")
    expired_id, expired = invited()
    asyncio.run(expire(platform.ready["postgres_dsn"], expired_id))
    with Browsing(platform.ready["url"]) as guest:
        joined = guest.post("/invitation", "/invitation/accept", token=used, name="Bo", password=PASSWORD)
        assert joined.status_code == 303, joined.text
    before = len(owner.get("/v1/organization/members").json()["members"])
    for token, words in (
        (used, "used already"),
        (revoked, "There is no such invitation"),
        (expired, "has expired"),
        (tokens.new_token(), "There is no such invitation"),
        ("half-a-link", "not whole"),
    ):
        with Browsing(platform.ready["url"]) as guest:
            for path, form in (("/invitation", {}), ("/invitation/accept", {"name": "Eve", "password": PASSWORD})):
                answer = guest.post("/invitation", path, token=token, **form)
                assert answer.status_code in (400, 404, 409), (path, token)
                assert words in html.unescape(answer.text), (path, token)
            assert "imagineo_session" not in guest.http.cookies
    assert len(owner.get("/v1/organization/members").json()["members"]) == before
