"""The picture of the queues, its landmarks, and the workers heard of."""

from __future__ import annotations

import pytest
from imagineo.jobs.estimate import Queue
from imagineo.v1 import event_pb2, generation_pb2, job_pb2

from services.status.queues import Queues
from services.status.repository.listing import Landmark
from services.status.workers import ALIVE_S, Workers

MARKS = [Landmark("gen_b", 256, 10.0), Landmark("gen_d", 512, 20.0)]


def job(**size):
    return job_pb2.Job(
        base_model_slug="tiny", lane=job_pb2.LANE_FREE, parameters=generation_pb2.Parameters(steps=10, **size)
    )


@pytest.mark.parametrize(
    ("run_id", "mark"),
    [("gen_a", Landmark()), ("gen_b", MARKS[0]), ("gen_c", MARKS[0]), ("gen_d", MARKS[1]), ("gen_e", MARKS[1])],
)
def test_a_place_is_counted_from_the_last_landmark_before_it(run_id, mark):
    queues = Queues(Workers())
    queues.replace({}, {("tiny", 1): MARKS})
    assert queues.landmark(("tiny", 1), run_id) == mark
    assert queues.landmark(("tiny", 2), run_id) == Landmark()


def test_what_was_accepted_since_the_picture_counts():
    queues = Queues(Workers())
    queues.replace({"tiny": Queue({job_pb2.LANE_FREE: 1}, {job_pb2.LANE_FREE: 10.0})}, {})
    before_s = queues.estimate_s(job(width=1000, height=1000))
    for _ in range(10):
        queues.add(job(width=1000, height=1000))
    assert queues.of("tiny").waiting_count == {job_pb2.LANE_FREE: 11}
    assert queues.estimate_s(job(width=1000, height=1000)) == before_s + 10 * 10 / 2


def test_a_worker_that_is_silent_counts_no_more():
    workers = Workers()
    workers.hear(event_pb2.WorkerBeat(worker_id="v", base_model_slugs=["tiny"], megapixel_steps_per_s=3), 0.0)
    workers.hear(event_pb2.WorkerBeat(worker_id="w", base_model_slugs=["tiny", "big"]), 5.0)
    assert sorted(pace.total for pace in workers.paces("tiny", 5.0)) == [0, 3]
    assert [pace.total for pace in workers.paces("tiny", ALIVE_S + 1)] == [0]
    assert [pace.total for pace in workers.paces("big", ALIVE_S + 1)] == [0]
    assert workers.paces("big", 100.0) == []
