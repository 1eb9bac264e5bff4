from __future__ import annotations

import httpx
import pytest
from imagineo_client import errors
from imagineo_client.answering import retry_after_s
from imagineo_client.retries import Repeats, RetryPolicy

POLICY = RetryPolicy(max_retries=4)
UNAVAILABLE = errors.UnavailableError("away", status=503)


def test_pauses_double_up_to_a_bound_and_lie_between_half_and_whole() -> None:
    wholes = [0.5, 1, 2, 4]
    for attempt, whole_s in enumerate(wholes, start=1):
        pauses = [POLICY.pause_s(attempt, UNAVAILABLE, Repeats.FREELY) for _ in range(200)]
        assert all(pause is not None and whole_s / 2 <= pause <= whole_s for pause in pauses)
        assert len(set(pauses)) > 100
    assert RetryPolicy(20).backoff_s(15) <= 8


def test_after_the_last_retry_the_problem_is_the_callers() -> None:
    assert POLICY.pause_s(5, UNAVAILABLE, Repeats.FREELY) is None
    assert RetryPolicy(0).pause_s(1, UNAVAILABLE, Repeats.FREELY) is None


def test_retry_after_is_never_undercut_and_a_long_one_is_not_waited_for() -> None:
    told = errors.RateLimitedError("used up", status=429, retry_after_s=3)
    assert all(3 <= (POLICY.pause_s(1, told, Repeats.FREELY) or 0) <= 3.3 for _ in range(100))
    assert POLICY.pause_s(1, errors.QuotaExceededError("used up", status=429, retry_after_s=61), Repeats.FREELY) is None


@pytest.mark.parametrize(
    ("problem", "freely", "unsent"),
    [
        (httpx.ConnectError("refused"), True, True),
        (httpx.LocalProtocolError("an illegal header"), False, False),
        (httpx.ReadError("reset"), True, False),
        (httpx.ReadTimeout("silent"), True, False),
        (UNAVAILABLE, True, True),
        (errors.RateLimitedError("", status=429), True, True),
        (errors.InternalError("", status=500), True, False),
        (errors.ServerError("", status=502), True, False),
        (errors.ApiError("", status=408), True, False),
        (errors.IdempotencyKeyInFlightError("", status=409), True, False),
        (errors.AlreadyExistsError("", status=409), False, False),
        (errors.InvalidParameterError("", status=400), False, False),
        (errors.IdempotencyKeyReusedError("", status=422), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_may_help_is_repeated_and_only_where_it_does_no_harm(
    problem: Exception, freely: bool, unsent: bool
) -> None:
    assert (POLICY.pause_s(1, problem, Repeats.FREELY) is not None) is freely
    assert (POLICY.pause_s(1, problem, Repeats.UNSENT) is not None) is unsent


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after_s("17") == 17
    assert retry_after_s("Mon, 23 Nov 2020 07:00:00 GMT") == 0
    assert (retry_after_s("Mon, 23 Nov 2099 07:00:00 GMT") or 0) > 1e9
    assert [retry_after_s(odd) for odd in (None, "", "soon", "-3", "1.5", "²")] == [None] * 6
