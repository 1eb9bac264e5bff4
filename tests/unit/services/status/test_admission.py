"""Who is admitted: the cap, repeats, keys, in the order of one batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from imagineo import errors
from imagineo.ids import new_id
from imagineo.v1 import generation_pb2, job_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status.admission import Books, Candidate, Earlier, Known, admit

EMPTY = Books({}, {}, {})


def candidate(run_id="", organization="org_1", limit=10, key="", body=b"a" * 32):
    parameters = generation_pb2.Parameters(seed=5)
    job = job_pb2.Job(run_id=run_id or new_id("gen"), organization_id=organization, parameters=parameters)
    submission = pb.Submission(job=job, queued_runs_limit=limit, idempotency_key=key, body_sha256=body)
    return Candidate(submission, 7)


def test_an_accepted_run_is_told_its_seed_and_estimate():
    one = candidate()
    assert admit([one], EMPTY) == ([pb.Acceptance(run_id=one.run_id, seed=5, estimated_time_s=7)], [one])


@given(taken=st.integers(0, 30), limit=st.integers(0, 20), wanted=st.integers(0, 30))
def test_a_batch_never_exceeds_the_cap(taken, limit, wanted):
    candidates = [candidate(limit=limit) for _ in range(wanted)]
    answers, admitted = admit(candidates, Books({"org_1": taken}, {}, {}))
    assert admitted == candidates[: max(0, limit - taken)]
    refused = answers[len(admitted) :]
    assert all(isinstance(answer, errors.QueueFull) and answer.metadata == {"limit": str(limit)} for answer in refused)


def test_one_full_organization_stops_no_other():
    one, two = candidate(organization="org_1"), candidate(organization="org_2")
    assert admit([one, two], Books({"org_1": 10}, {}, {}))[1] == [two]


def test_a_run_that_is_there_is_answered_as_it_was_even_at_the_cap():
    one = candidate()
    books = Books({"org_1": 10}, {}, {one.run_id: Known("org_1", 3, 4)})
    assert admit([one], books) == ([pb.Acceptance(run_id=one.run_id, seed=3, estimated_time_s=4)], [])


def test_a_run_of_somebody_else_is_not_shown():
    one = candidate()
    [answer], admitted = admit([one], Books({}, {}, {one.run_id: Known("org_2", 3, 4)}))
    assert (type(answer), admitted) == (errors.AlreadyExists, [])


def test_a_key_answers_its_first_run_and_refuses_another_body():
    books = Books({"org_1": 10}, {("org_1", "k"): Earlier("gen_first", b"a" * 32, 3, 4)}, {})
    same, other, stranger = candidate(key="k"), candidate(key="k", body=b"b" * 32), candidate(organization="o", key="k")
    answers, admitted = admit([same, other, stranger], books)
    assert answers[0] == pb.Acceptance(run_id="gen_first", replayed=True, seed=3, estimated_time_s=4)
    assert isinstance(answers[1], errors.IdempotencyKeyReused)
    assert admitted == [stranger]


def test_repeats_within_one_batch_are_one_run():
    first = candidate(key="k")
    twin, again, other = candidate(key="k"), candidate(first.run_id), candidate(key="k", body=b"b" * 32)
    answers, admitted = admit([first, twin, again, other], EMPTY)
    assert admitted == [first]
    assert [getattr(answer, "run_id", "") for answer in answers] == [first.run_id] * 3 + [""]
    assert [getattr(answer, "replayed", None) for answer in answers] == [False, True, False, None]
