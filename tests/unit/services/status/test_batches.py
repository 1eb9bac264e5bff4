"""Where a batch stands by its items."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.jobs.estimate import MAX_ESTIMATE_S, Pace, Queue
from imagineo.v1 import batch_pb2, job_pb2

from services.status.batches import Load, left_s, status_of

NAMES = ("queued", "running", "canceling", "completed", "failed", "canceled", "expired", "deleted")
OPEN = ("queued", "running", "canceling")


def counts(**given_counts):
    return batch_pb2.BatchCounts(total=sum(given_counts.values()), **given_counts)


@pytest.mark.parametrize(
    ("asked", "found", "status"),
    [
        (False, {"queued": 3}, "RUNNING"),
        (False, {"running": 1, "completed": 2}, "RUNNING"),
        (True, {"running": 1, "canceled": 2}, "CANCELING"),
        (True, {"canceling": 1}, "CANCELING"),
        (False, {"completed": 3}, "COMPLETED"),
        (False, {"completed": 1, "failed": 9}, "COMPLETED"),
        (False, {"completed": 1, "canceled": 2}, "COMPLETED"),
        (True, {"completed": 3}, "COMPLETED"),
        (True, {"completed": 2, "canceled": 1}, "CANCELED"),
        (False, {"canceled": 2, "deleted": 1}, "CANCELED"),
        (False, {"failed": 2, "deleted": 1}, "FAILED"),
        (False, {"expired": 2}, "FAILED"),
        (False, {"canceled": 2, "failed": 1}, "FAILED"),
        (False, {"deleted": 2}, "COMPLETED"),
    ],
)
def test_a_batch_stands_where_its_items_say(asked, found, status):
    assert batch_pb2.BatchStatus.Name(status_of(counts(**found), is_cancel_asked=asked)) == f"BATCH_STATUS_{status}"


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 5), min_size=1), st.booleans())
def test_it_is_over_exactly_when_no_item_is_open(found, asked):
    status = status_of(counts(**found), is_cancel_asked=asked)
    is_open = status in (batch_pb2.BATCH_STATUS_RUNNING, batch_pb2.BATCH_STATUS_CANCELING)
    assert is_open == any(name in found for name in OPEN)


def test_what_is_left_follows_what_is_queued_and_is_shared_with_other_batches():
    queue = Queue(waiting_work={job_pb2.LANE_FREE: 20.0}, running_work=4.0)
    assert left_s({"tiny": 10.0}, {"tiny": Load(queue, [Pace(2.0)], 0)}) == 17
    assert left_s({"tiny": 10.0}, {"tiny": Load(queue, [Pace(2.0), Pace(2.0)], 3)}) == 14
    assert left_s({"tiny": 1e12}, {"tiny": Load(Queue(), [], 0)}) == MAX_ESTIMATE_S
    assert left_s({}, {}) == 1
