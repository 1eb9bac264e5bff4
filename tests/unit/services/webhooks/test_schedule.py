"""Pauses, ends and switching off, with the clock as an argument."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.v1 import webhook_pb2 as pb

from services.webhooks.schedule import LONGEST_PAUSE, PATIENCE, ROUND, Answer, Next, after, disabling, pause

START = datetime(2026, 1, 1, tzinfo=UTC)
FAILURE = Answer(500, "HTTP 500")


def test_pauses_grow_fourfold_to_half_a_day():
    found = [pause(tries, 0.5).total_seconds() for tries in range(1, 10)]
    assert found == [5, 20, 80, 320, 1_280, 5_120, 20_480, 43_200, 43_200]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_is_a_quarter_off_at_most(tries, chance):
    plain = pause(tries, 0.5)
    assert plain * 0.7499 <= pause(tries, chance) <= plain * 1.2501
    assert pause(tries, chance) <= LONGEST_PAUSE * 1.25


@given(st.lists(st.floats(0, 1), min_size=30, max_size=30))
def test_whoever_is_away_for_less_than_three_days_gets_every_event(chances):
    """The moments of one event for a receiver that never answers: the last is at the very end of the round."""
    now, moments = START, [START]
    for tries, chance in enumerate(chances, start=1):
        following = after(FAILURE, tries=tries, round_at=START, now=now, chance=chance)
        if following.state == pb.DELIVERY_STATE_FAILED:
            break
        assert following.at is not None
        assert following.at > now
        now = following.at
        moments.append(now)
    assert following == Next(pb.DELIVERY_STATE_FAILED)
    assert moments[-1] == START + ROUND
    assert 9 <= len(moments) <= 16


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_success(status):
    assert after(Answer(status), tries=1, round_at=START, now=START, chance=0) == Next(pb.DELIVERY_STATE_DELIVERED)


@pytest.mark.parametrize("status", [0, 100, 199, 300, 301, 304, 307, 400, 401, 404, 429, 500, 503])
def test_anything_else_is_tried_again(status):
    following = after(Answer(status), tries=1, round_at=START, now=START, chance=0.5)
    assert following == Next(pb.DELIVERY_STATE_PENDING, START + timedelta(seconds=5))


def test_410_ends_it():
    assert after(Answer(410), tries=1, round_at=START, now=START, chance=0) == Next(pb.DELIVERY_STATE_FAILED)


@pytest.mark.parametrize(("asked_s", "waited_s"), [(0, 5), (3, 5), (600, 600), (10**7, 12 * 3600)])
def test_a_receiver_may_ask_for_a_longer_pause_up_to_the_longest(asked_s, waited_s):
    answer = Answer(503, retry_after=timedelta(seconds=asked_s))
    following = after(answer, tries=1, round_at=START, now=START, chance=0.5)
    assert following.at == START + timedelta(seconds=waited_s)


@pytest.mark.parametrize(
    ("answer", "failing_for", "reason"),
    [
        (FAILURE, timedelta(0), None),
        (FAILURE, PATIENCE - timedelta(seconds=1), None),
        (FAILURE, PATIENCE, pb.DISABLED_REASON_FAILING),
        (Answer(410), timedelta(0), pb.DISABLED_REASON_GONE),
    ],
)
def test_five_days_or_410_switch_an_endpoint_off(answer, failing_for, reason):
    assert disabling(answer, START, START + failing_for) == reason
