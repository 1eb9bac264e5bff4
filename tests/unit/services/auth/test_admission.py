from __future__ import annotations

from datetime import UTC, datetime

from imagineo import errors

from services.auth.accounts import Permission, Principal
from services.auth.admission import Check, Standing, demands_of, next_month, verdicts_of
from services.auth.plans import Limits, Plan
from services.auth.window import Window, admit

LIMITS = Limits(requests_per_minute=3, images_per_month=5, queued_runs=1)
NOW_US = 1_700_000_000_250_000
WRITE = Permission.GENERATIONS_WRITE


def principal(name: str, *permissions: Permission) -> Principal:
    return Principal(
        organization_id=f"org_{name}",
        key_id=f"key_{name}",
        plan=Plan.FREE,
        limits=LIMITS,
        permissions=frozenset(permissions),
        expires_at=None,
    )


def standing(count: int, *held: str) -> Standing:
    return Standing(admit(Window(), now_us=NOW_US, count=count, limit=3)[1], frozenset(held))


def test_demands_number_the_requests_of_each_organization_in_order_of_arrival():
    a, b = principal("a", WRITE), principal("b")
    checks = [Check(b"a", WRITE, "gen_1"), Check(b"b", WRITE, "gen_2"), Check(b"?", WRITE), Check(b"a", WRITE, "gen_3")]
    demands = demands_of(checks, [a, b, None, a])
    assert (demands["org_a"].request_count, demands["org_a"].runs) == (2, [("gen_1", 1), ("gen_3", 2)])
    assert (demands["org_b"].request_count, demands["org_b"].runs) == (1, [])  # no permission, no reservation


def test_verdicts_hand_out_what_was_admitted_first_come_first_served():
    a = principal("a", WRITE)
    verdicts = verdicts_of([Check(b"a", WRITE)] * 5, [a] * 5, {"org_a": standing(5)})
    assert [type(verdict.error) for verdict in verdicts] == [type(None)] * 3 + [errors.RateLimited] * 2
    assert [verdict.rate_limit.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert {verdict.rate_limit.reset_at_epoch_s for verdict in verdicts} == {1_700_000_061}
    assert verdicts[3].error.retry_after_s == 60.0


def test_refusals_come_in_the_order_key_rate_permission_quota():
    a = principal("a")
    over = verdicts_of([Check(b"a", WRITE, "gen_1")] * 4, [a] * 4, {"org_a": standing(4)})
    assert [type(verdict.error) for verdict in over] == [errors.PermissionDenied] * 3 + [errors.RateLimited]
    unset = verdicts_of([Check(b"a", None)], [a], {"org_a": standing(1)})
    assert isinstance(unset[0].error, errors.PermissionDenied)


def test_a_run_without_a_place_in_the_month_is_told_when_the_month_ends():
    a = principal("a", WRITE)
    checks = [Check(b"a", WRITE, "gen_1"), Check(b"a", WRITE, "gen_2")]
    first, second = verdicts_of(checks, [a, a], {"org_a": standing(2, "gen_1")})
    assert first.error is None
    assert isinstance(second.error, errors.QuotaExceeded)
    month_end_s = datetime(2023, 12, 1, tzinfo=UTC).timestamp()
    assert second.error.retry_after_s == month_end_s - NOW_US / 1e6


def test_the_next_month_of_december_is_january():
    assert next_month(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 1, 31, tzinfo=UTC)) == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_request_of_several_runs_takes_one_place_and_needs_an_image_for_each():
    a = principal("a", WRITE)
    checks = [Check(b"a", WRITE, "gen_1", ("gen_2", "gen_3")), Check(b"a", WRITE, "gen_4")]
    demand = demands_of(checks, [a, a])["org_a"]
    assert (demand.request_count, demand.runs) == (2, [("gen_1", 1), ("gen_2", 1), ("gen_3", 1), ("gen_4", 2)])
    enough = verdicts_of(checks, [a, a], {"org_a": standing(2, "gen_1", "gen_2", "gen_3", "gen_4")})
    assert [verdict.error for verdict in enough] == [None, None]
    short = verdicts_of(checks, [a, a], {"org_a": standing(2, "gen_1", "gen_2", "gen_4")})
    assert [type(verdict.error) for verdict in short] == [errors.QuotaExceeded, type(None)]
