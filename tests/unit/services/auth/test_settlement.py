from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from imagineo.v1 import event_pb2
from imagineo.v1 import generation_pb2 as pb
from imagineo.wire.times import timestamp

from services.auth.repository import Held, Settlement
from services.auth.settlement import settlement_of
from services.auth.sweeper import repairs

MADE_AT = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)


def event(status: pb.Status, **fields: str) -> bytes:
    run = {"run_id": "gen_1", "organization_id": "org_1", **fields}
    generation = pb.Generation(status=status, created_at=timestamp(MADE_AT), **run)
    return event_pb2.GenerationChanged(event_id="evt_1", generation=generation).SerializeToString()


def test_a_completed_run_counts_in_the_month_in_which_it_was_accepted():
    assert settlement_of(event(pb.STATUS_COMPLETED)) == Settlement(
        "gen_1", True, "org_1", date(2026, 3, 1), day=date(2026, 3, 31)
    )


@pytest.mark.parametrize("status", [pb.STATUS_FAILED, pb.STATUS_CANCELED, pb.STATUS_EXPIRED])
def test_every_other_end_gives_the_image_back(status):
    assert settlement_of(event(status)).completed is False


@pytest.mark.parametrize("status", [pb.STATUS_QUEUED, pb.STATUS_RUNNING, pb.STATUS_CANCELING, pb.STATUS_UNSPECIFIED])
def test_an_unfinished_run_settles_nothing(status):
    assert settlement_of(event(status)) is None


def event_made_at(seconds: int) -> bytes:
    changed = event_pb2.GenerationChanged.FromString(event(pb.STATUS_COMPLETED))
    changed.generation.created_at.seconds = seconds
    return changed.SerializeToString()


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff",
        b"",
        event(pb.STATUS_COMPLETED, organization_id=""),
        event(pb.STATUS_COMPLETED, organization_id="org\0"),
        event(pb.STATUS_COMPLETED, run_id="gen\0"),
        event_made_at(2**62),
        event_made_at(-(2**62)),
    ],
)
def test_what_is_no_event_of_a_run_is_refused(body):
    with pytest.raises(ValueError, match=r"not a GenerationChanged|without|[Tt]imestamp"):
        settlement_of(body)


def test_the_sweep_releases_what_status_does_not_know_and_leaves_what_still_runs():
    held = [
        Held(name, "org_1", date(2026, 3, 1), MADE_AT) for name in ("unknown", "queued", "running", "done", "failed")
    ]
    statuses = {
        "queued": pb.STATUS_QUEUED,
        "running": pb.STATUS_RUNNING,
        "done": pb.STATUS_COMPLETED,
        "failed": pb.STATUS_FAILED,
    }
    decided = {settlement.run_id: settlement.completed for settlement in repairs(held, statuses)}
    assert decided == {"unknown": False, "done": True, "failed": False}
