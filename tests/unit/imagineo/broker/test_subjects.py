"""Names on the broker are safe tokens, and a queue's name leads back to its subject."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.broker import subjects
from imagineo.v1.job_pb2 import LANE_BASIC, LANE_FREE, LANE_PREMIUM, LANE_UNSPECIFIED

SLUGS = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())


def test_subjects_read_as_documented():
    assert subjects.job("tiny", LANE_BASIC) == "imagineo.v1.jobs.tiny.basic"
    assert subjects.queue("tiny", LANE_PREMIUM) == "worker-tiny-premium"
    assert subjects.outcome("gen_1") == "imagineo.v1.outcomes.gen_1"
    assert subjects.event("completed", "gen_1") == "imagineo.v1.events.completed.gen_1"
    assert subjects.progress("gen_1") == "imagineo.v1.progress.gen_1"
    assert subjects.change("gen_1") == "imagineo.v1.changes.gen_1"
    assert subjects.cancel("gen_1") == "imagineo.v1.cancels.gen_1"
    assert subjects.worker("w-1") == "imagineo.v1.workers.w-1"


def test_a_dot_in_a_slug_stays_inside_its_token():
    assert subjects.job("sd-1.5", LANE_FREE) == "imagineo.v1.jobs.sd-1=2E5.free"
    assert subjects.matches(subjects.jobs_of("sd-1.5"), subjects.job("sd-1.5", LANE_FREE))


@given(SLUGS, SLUGS)
def test_two_slugs_never_share_a_queue_or_a_subject(one, other):
    same = one == other
    assert (subjects.queue(one, LANE_FREE) == subjects.queue(other, LANE_FREE)) is same
    assert subjects.matches(subjects.jobs_of(one), subjects.job(other, LANE_FREE)) is same


@given(SLUGS, st.sampled_from(subjects.LANES))
def test_a_queue_leads_back_to_its_subject(slug, lane):
    assert subjects.queue_subject(subjects.queue(slug, lane)) == subjects.job(slug, lane)


def test_what_has_no_queue_is_refused():
    with pytest.raises(ValueError, match="lane"):
        subjects.job("tiny", LANE_UNSPECIFIED)
    with pytest.raises(ValueError, match="empty"):
        subjects.job("", LANE_FREE)
    with pytest.raises(ValueError, match="not the name"):
        subjects.queue_subject("worker-tiny-gold")


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.b.c", "a.b", False),
        ("*.b", "a.b", True),
        ("a.b", "a.c", False),
    ],
)
def test_patterns_match_as_the_server_does(pattern, subject, expected):
    assert subjects.matches(pattern, subject) is expected
