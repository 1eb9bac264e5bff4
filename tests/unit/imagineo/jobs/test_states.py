"""Every event against every status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from imagineo.jobs.states import (
    MAX_ATTEMPTS,
    STEPS,
    TERMINAL,
    WORKER_LOST,
    Cancellation,
    Claim,
    Ending,
    Inspection,
    Renewal,
    Run,
    Verdict,
    decide,
)
from imagineo.v1 import generation_pb2 as pb

NOW = datetime(2030, 1, 1, tzinfo=UTC)
STATUSES = [status for status in pb.Status.values() if status]
EVENTS = [
    Claim("w", "i"),
    Claim("w", "j"),
    Claim("v", "i"),
    Renewal("w", 1),
    Renewal("w", 2),
    *(Ending(attempt, status) for attempt in (0, 1, 2) for status in STATUSES),
    Cancellation(),
    Inspection(),
]


def run(status, **changes):
    owned = {"attempt": 1, "worker_id": "w", "incarnation": "i", "lease_until": NOW + timedelta(seconds=1)}
    return Run("gen_1", status, **({} if status == pb.STATUS_QUEUED else owned) | changes)


@pytest.mark.parametrize("silence_s", [-1, 1, 15, 30])
@pytest.mark.parametrize("event", EVENTS, ids=str)
@pytest.mark.parametrize("status", STATUSES, ids=pb.Status.Name)
def test_a_run_moves_only_where_the_table_says(status, event, silence_s):
    before = run(status, lease_until=NOW - timedelta(seconds=silence_s))
    after, _ = decide(before, event, NOW)
    assert after.status == status or after.status in STEPS[status]
    assert (after.version > before.version) == (after.status != status or after.attempt != before.attempt)
    if status in TERMINAL:
        assert after == before


@pytest.mark.parametrize("status", [pb.STATUS_RUNNING, pb.STATUS_CANCELING])
def test_an_older_attempt_says_nothing(status):
    before = run(status, attempt=2)
    for event in (Ending(1, pb.STATUS_COMPLETED), Ending(3, pb.STATUS_COMPLETED)):
        assert decide(before, event, NOW) == (before, Verdict.UNCHANGED)
    assert decide(before, Renewal("w", 1), NOW) == (before, Verdict.LOST)


def test_a_run_that_lost_all_its_workers_fails_and_handed_back_claims_do_not_count():
    dead = {"lease_until": NOW - timedelta(seconds=1)}
    lost, verdict = decide(run(pb.STATUS_RUNNING, attempt=MAX_ATTEMPTS, **dead), Claim("v", "k"), NOW)
    assert (lost.status, lost.error_code, verdict) == (pb.STATUS_FAILED, WORKER_LOST, Verdict.OVER)
    kept, verdict = decide(run(pb.STATUS_RUNNING, attempt=MAX_ATTEMPTS, handed_back=1, **dead), Claim("v", "k"), NOW)
    assert (kept.attempt, verdict) == (MAX_ATTEMPTS + 1, Verdict.GRANTED)


def test_a_living_lease_holds_others_off_and_gives_way_to_the_same_worker_started_anew():
    before = run(pb.STATUS_RUNNING)
    assert decide(before, Claim("v", "i"), NOW)[1] == Verdict.HELD
    again, verdict = decide(before, Claim("w", "i"), NOW)
    assert (again.attempt, verdict) == (1, Verdict.GRANTED)
    anew, verdict = decide(before, Claim("w", "j"), NOW)
    assert (anew.attempt, verdict) == (2, Verdict.GRANTED)


def test_a_deadline_ends_only_what_no_worker_started():
    late = run(pb.STATUS_QUEUED, deadline=NOW)
    assert decide(late, Claim("w", "i"), NOW)[0].status == pb.STATUS_EXPIRED
    assert decide(late, Inspection(), NOW)[0].status == pb.STATUS_EXPIRED
    started = run(pb.STATUS_QUEUED, deadline=NOW, started_at=NOW)
    assert decide(started, Claim("w", "i"), NOW)[1] == Verdict.GRANTED
