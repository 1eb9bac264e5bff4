"""Tenant isolation and the table of permissions, over every route and every page of the dashboard: nothing of one
organization is ever seen, counted or changed by another, and roles allow exactly what the table says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from imagineo.permissions import PERMISSIONS_OF, ROLES

from services.gateway.dashboard.dispatch import Page
from services.gateway.dispatch import Row
from services.gateway.routes import ROUTES
from tests.support.platform import Platform, eventually
from tests.support.tenants import Call, Rows, Tenant, call_of, fresh, send, settle
from tests.support.visits import ADMIN_PAGES, ENDING, GUARDED_PAGES, visit_of, with_token

GUARDED = [row for row in ROUTES if row.permission is not None]


class World:
    """Two organizations on one platform."""

    def __init__(self, platform: Platform) -> None:
        self.ready = platform.ready
        self.http = httpx.Client(base_url=self.ready["url"], timeout=60, trust_env=False)
        self.rows = Rows(self.ready["postgres_dsn"])
        self.tenants = [settle(self.ready, name) for name in ("Northern-Studio", "Southern-Studio")]

    def quiet(self, tenant: Tenant) -> dict[str, str]:
        """The tenant's rows, once nothing moves them any more."""
        eventually(
            lambda: not self.rows.unfinished(tenant.organization_id), within_s=120, what="the other's runs are over"
        )
        return self.rows.of(tenant.organization_id)

    def check_answer(self, answer: httpx.Response, other: Tenant, sent: str) -> None:
        """Nothing of the other is in it, but what was sent."""
        text = f"{answer.headers}{answer.text}"
        seen = {mark for mark in other.marks if mark in text and mark not in sent}
        assert not seen, (answer.request.method, answer.request.url, seen)
        assert answer.status_code < 500, answer.text


@pytest.fixture(scope="module")
def world(platform: Platform) -> Iterator[World]:
    made = World(platform)
    yield made
    made.http.close()
    made.rows.close()
    for tenant in made.tenants:
        tenant.account.http.close()


def may(row: Row | Page, role: str) -> bool:
    return row.permission in PERMISSIONS_OF[ROLES[role]] and not row.path.startswith(ADMIN_PAGES)


def uncounted(rows: dict[str, str]) -> dict[str, str]:
    """All but the count of requests: a refused one counts for who asks."""
    return {name: digest for name, digest in rows.items() if name != "auth.windows"}


def visit(world: World, tenant: Tenant, role: str, call: Call) -> httpx.Response:
    """What a browser with the session of a member gets."""
    session = tenant.sessions[role]
    return send(world.http, with_token(call, session), {"Cookie": f"imagineo_session={session}"})


def with_fresh(world: World, tenant: Tenant, row: Row | Page) -> Tenant:
    """The same tenant with another thing to end, so that those of the others' calls stay."""
    kind = re.findall(r"{(\w+)}", row.path)[-1].upper()
    things = {**tenant.things, kind: fresh(world.ready, tenant, kind)}
    return dataclasses.replace(tenant, things=things)


def check_visit(page: Page, role: str, answer: httpx.Response, *, foreign: bool) -> None:
    """A page answers by the role and by whose things it names; sessions are their user's, the owner's here."""
    said = (page.method, page.path, role, foreign, answer.text)
    if not may(page, role):
        assert answer.status_code == 403, said
    elif foreign or ("session_id" in page.path and role != "owner"):
        assert answer.status_code == 404 or "{" not in page.path, said
    else:
        assert answer.status_code not in (401, 403, 404), said


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("by", ["session", "key"])
def test_a_role_is_refused_all_that_the_table_does_not_give_it(world: World, by: str) -> None:
    own, other = world.tenants
    before = uncounted(world.quiet(own))
    for row in GUARDED:
        for role in ROLES:
            if not may(row, role):
                answer = send(world.http, call_of(row, own), own.headers(role, by))
                assert code(answer) == (403, "permission_denied"), (row.method, row.path, role)
                world.check_answer(answer, other, "")
    assert uncounted(world.rows.of(own.organization_id)) == before


def test_a_session_changes_nothing_without_its_csrf_token(world: World) -> None:
    own, _ = world.tenants
    before = uncounted(world.quiet(own))
    for row in GUARDED:
        if row.method != "GET":
            answer = send(world.http, call_of(row, own), own.headers("owner", "session", csrf=False))
            assert code(answer) == (403, "invalid_csrf_token"), (row.method, row.path)
    assert uncounted(world.rows.of(own.organization_id)) == before


@pytest.mark.parametrize("by", ["session", "key"])
def test_what_belongs_to_somebody_else_is_not_there(world: World, by: str) -> None:
    own, other = world.tenants
    before = world.quiet(other)
    for row in GUARDED:
        call = call_of(row, other)
        if not call.names:
            continue
        for role in ROLES:
            answer = send(world.http, call, own.headers(role, by))
            expected = 404 if may(row, role) else 403
            assert answer.status_code == expected, (row.method, row.path, role, answer.text)
            world.check_answer(answer, other, f"{call.path}{call.options}")
    assert world.rows.of(other.organization_id) == before


def test_a_page_is_refused_to_a_role_that_the_table_does_not_give_it(world: World) -> None:
    own, other = world.tenants
    before = uncounted(world.quiet(own))
    for page in GUARDED_PAGES:
        for role in ROLES:
            if not may(page, role):
                answer = visit(world, own, role, visit_of(page, own))
                assert answer.status_code == 403, (page.method, page.path, role)
                assert "does not allow this" in answer.text
                world.check_answer(answer, other, "")
    assert uncounted(world.rows.of(own.organization_id)) == before


def test_what_belongs_to_somebody_else_is_on_no_page(world: World) -> None:
    own, other = world.tenants
    before = world.quiet(other)
    for page in GUARDED_PAGES:
        call = visit_of(page, other)
        for role in ROLES:
            answer = visit(world, own, role, call)
            world.check_answer(answer, other, f"{call.path}{call.options}")
            if not may(page, role):
                assert answer.status_code == 403, (page.method, page.path, role)
            elif "{" in page.path or (page.method == "POST" and call.names):
                assert answer.status_code == 404, (page.method, page.path, role, answer.text)
            else:
                assert answer.status_code < 400 or call.names or "password" in page.path, (page.path, answer.text)
    assert world.rows.of(other.organization_id) == before


def test_any_sequence_of_calls_leaves_the_other_organization_alone(world: World) -> None:
    class Calls(RuleBasedStateMachine):
        @initialize(first=st.booleans())
        def begin(self, first: bool) -> None:
            self.own, self.other = world.tenants if first else world.tenants[::-1]
            self.before = world.quiet(self.other)

        @rule(
            row=st.sampled_from(GUARDED),
            role=st.sampled_from(list(ROLES)),
            by=st.sampled_from(["session", "key"]),
            foreign=st.booleans(),
        )
        def call(self, row: Row, role: str, by: str, foreign: bool) -> None:
            target = self.other if foreign else self.own
            if row.method == "DELETE" and not foreign and may(row, role):
                target = with_fresh(world, target, row)
            call = call_of(row, target)
            answer = send(world.http, call, self.own.headers(role, by))
            world.check_answer(answer, self.other, f"{call.path}{call.options}")
            if not may(row, role):
                assert answer.status_code == 403, (row.method, row.path, role, answer.text)
            elif foreign and call.names:
                assert answer.status_code == 404, (row.method, row.path, role, answer.text)
            else:
                assert answer.status_code not in (401, 403, 404), (row.method, row.path, role, answer.text)
            assert world.rows.of(self.other.organization_id) == self.before, (row.method, row.path, role)

        @rule(page=st.sampled_from(GUARDED_PAGES), role=st.sampled_from(list(ROLES)), foreign=st.booleans())
        def visit(self, page: Page, role: str, foreign: bool) -> None:
            target = self.other if foreign else self.own
            if ENDING.search(page.path) and not foreign and may(page, role):
                target = with_fresh(world, target, page)
            call = visit_of(page, target)
            answer = visit(world, self.own, role, call)
            world.check_answer(answer, self.other, f"{call.path}{call.options}")
            check_visit(page, role, answer, foreign=foreign)
            assert world.rows.of(self.other.organization_id) == self.before, (page.method, page.path, role)

    run_state_machine_as_test(
        Calls,
        settings=settings(
            max_examples=5,
            stateful_step_count=18,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
