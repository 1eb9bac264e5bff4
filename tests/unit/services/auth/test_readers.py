from __future__ import annotations

import dataclasses

import pytest
from imagineo import errors

from services.auth.accounts import Permission, Principal
from services.auth.admission import Check, RateLimit, Standing, Verdict
from services.auth.plans import PLAN_LIMITS, Limits, Plan
from services.auth.readers import demands_on_shares, is_bounded, merged, share_of, window_of, within_shares
from services.auth.window import SECOND_US, Admission

READER = Principal(
    organization_id="org_1",
    key_id="key_1",
    plan=Plan.FREE,
    limits=PLAN_LIMITS[Plan.FREE],
    permissions=frozenset({Permission.GENERATIONS_READ}),
    expires_at=None,
)
WRITER = dataclasses.replace(READER, permissions=frozenset(Permission))
VIEWER = dataclasses.replace(READER, key_id="", session_id="sess_1", user_id="user_1")
READ = Check(b"k", Permission.GENERATIONS_READ)


@pytest.mark.parametrize(("limit", "share"), [(1, 1), (2, 1), (10, 5), (31, 15), (100, 50)])
def test_a_share_is_half_and_never_nothing(limit: int, share: int) -> None:
    assert share_of(limit) == share


@pytest.mark.parametrize(
    ("check", "principal", "bounded"),
    [
        (READ, READER, True),
        (READ, VIEWER, True),
        (READ, WRITER, False),
        (READ, None, False),
        (dataclasses.replace(READ, is_uncounted=True), READER, False),
        (dataclasses.replace(READ, is_page=True), VIEWER, False),
        (dataclasses.replace(READ, is_page=True), READER, True),
    ],
)
def test_only_what_counts_for_the_organization_and_draws_nothing_is_bounded(
    check: Check, principal: Principal | None, bounded: bool
) -> None:
    assert is_bounded(check, principal) is bounded


def test_nobody_who_may_draw_costs_a_second_statement() -> None:
    assert demands_on_shares([READ, READ], [WRITER, None]) == {}


def test_all_who_may_not_draw_ask_of_one_share_in_their_order() -> None:
    checks, principals = [READ] * 4, [READER, WRITER, VIEWER, READER]
    demands = demands_on_shares(checks, principals)
    window = window_of(READER)
    assert {name: (demand.request_count, demand.limits) for name, demand in demands.items()} == {
        window: (3, Limits(requests_per_minute=5))
    }
    admission = Admission(admitted=2, used_before=3, now_us=0, oldest_us=0, free_us=9 * SECOND_US)

    shares = within_shares(checks, principals, {window: Standing(admission)})

    assert [share and (type(share.error), share.rate_limit.remaining) for share in shares] == [
        (type(None), 1),
        None,
        (type(None), 0),
        (errors.RateLimited, 0),
    ]
    assert shares[3].error.retry_after_s == 9


def test_what_the_share_refused_keeps_its_place_and_the_others_show_what_is_less() -> None:
    share = Verdict(None, READER, RateLimit(5, 3, 50))
    refused = Verdict(errors.RateLimited(), READER, RateLimit(5, 0, 50))
    theirs = [Verdict(None, READER, RateLimit(10, left, 60)) for left in (7, 1, 9)]

    answers = merged([share, refused, share, None], theirs)

    assert [answer.rate_limit for answer in answers] == [
        RateLimit(5, 3, 50),
        RateLimit(5, 0, 50),
        RateLimit(5, 1, 60),
        RateLimit(10, 9, 60),
    ]
    assert [answer.error for answer in answers] == [None, refused.error, None, None]
