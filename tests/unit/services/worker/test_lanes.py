from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from imagineo.v1 import job_pb2

from services.worker.lanes import Queue, StrideScheduler

PREMIUM, BASIC, FREE = (Queue("sd", lane) for lane in (job_pb2.LANE_PREMIUM, job_pb2.LANE_BASIC, job_pb2.LANE_FREE))


def serve(scheduler, waiting):
    """Take one run from the first queue in order that has some."""
    for queue in scheduler.order():
        if waiting.get(queue, 0):
            waiting[queue] -= 1
            scheduler.taken(queue)
            return queue
    return None


def new_scheduler(*slugs):
    scheduler = StrideScheduler()
    for slug in slugs or ("sd",):
        scheduler.add(slug)
    return scheduler


def test_full_lanes_are_served_4_to_2_to_1():
    scheduler = new_scheduler()
    waiting = {PREMIUM: 700, BASIC: 700, FREE: 700}
    served = Counter(serve(scheduler, waiting) for _ in range(70))
    assert served == {PREMIUM: 40, BASIC: 20, FREE: 10}


def test_the_first_run_is_the_heaviest_lanes():
    assert serve(new_scheduler(), {PREMIUM: 1, BASIC: 1, FREE: 1}) == PREMIUM


def test_a_lane_alone_is_served_alone():
    scheduler = new_scheduler()
    assert [serve(scheduler, {FREE: 1}) for _ in range(3)] == [FREE] * 3


def test_a_lane_that_was_idle_has_no_credit():
    scheduler = new_scheduler()
    for _ in range(100):
        serve(scheduler, {FREE: 1})
    waiting = {PREMIUM: 700, FREE: 700}
    served = Counter(serve(scheduler, waiting) for _ in range(50))
    assert served[FREE] >= 9


def test_base_models_share_by_the_same_weights():
    scheduler = new_scheduler("sd", "xl")
    waiting = {Queue(slug, lane): 700 for slug in ("sd", "xl") for lane in (PREMIUM.lane, BASIC.lane, FREE.lane)}
    served = Counter(serve(scheduler, waiting).base_model_slug for _ in range(140))
    assert served == {"sd": 70, "xl": 70}


def test_a_base_model_that_joins_late_does_not_take_all():
    scheduler = new_scheduler("sd")
    for _ in range(1000):
        serve(scheduler, {PREMIUM: 1})
    scheduler.add("xl")
    waiting = {PREMIUM: 700, Queue("xl", PREMIUM.lane): 700}
    served = Counter(serve(scheduler, waiting).base_model_slug for _ in range(20))
    assert served["sd"] >= 9


@given(st.lists(st.sets(st.sampled_from([PREMIUM, BASIC, FREE]), min_size=1), max_size=60))
def test_no_lane_that_always_waits_is_passed_over_for_more_than_a_round(arrivals):
    scheduler = new_scheduler()
    since_free = 0
    for arrived in arrivals:
        served = serve(scheduler, {**dict.fromkeys(arrived, 1), FREE: 1})
        since_free = 0 if served == FREE else since_free + 1
        # A round has seven turns; each of the two other lanes may begin one of its own by joining.
        assert since_free <= 9
