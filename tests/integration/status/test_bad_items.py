"""One item that cannot be stored fails by itself; its mates and those after it do not notice."""

from __future__ import annotations

import secrets

import pytest
from imagineo import errors
from imagineo.broker import subjects
from imagineo.ids import new_id
from imagineo.jobs.states import Claim, Ending, Verdict
from imagineo.postgres.pool import Database
from imagineo.v1 import error_reason_pb2, generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status.admission import Candidate
from services.status.isolation import isolated
from services.status.repository.runs import Runs, Word
from services.status.repository.submissions import Submissions
from tests.integration.status.conftest import outcome_of, say, submission

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(status_dsn):
    one = await Database.open(status_dsn, application_name="test")
    yield one
    await one.close()


async def test_a_word_that_cannot_be_stored_fails_alone(database):
    good = Candidate(submission(), 1)
    await Submissions(database).accept([good])
    words = [
        Word("gen_\0", Claim("w", "i")),
        Word(good.run_id, Claim("w", "i")),
        Word(good.run_id, Ending(1, generation_pb2.STATUS_FAILED, "x", "a\0b")),
        Word(good.run_id, Ending(1, generation_pb2.STATUS_FAILED, "x", "a b")),
    ]
    first, claimed, bad, ended = await isolated(Runs(database).apply, words)
    assert isinstance(first, errors.InvalidParameter)
    assert isinstance(bad, errors.InvalidParameter)
    assert (claimed.verdict, ended.verdict) == (Verdict.GRANTED, Verdict.APPLIED)


async def test_a_candidate_that_cannot_be_stored_fails_alone(database):
    candidates = [
        Candidate(submission(organization=name), 1) for name in ("org_1", "org_\0", secrets.token_hex(5000), "org_2")
    ]
    store = Submissions(database)

    async def accept(some):
        return (await store.accept(some))[0]

    answers = await isolated(accept, candidates)
    assert [isinstance(answer, pb.Acceptance) for answer in answers] == [True, False, False, True]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: setattr(one.job, "run_id", "gen_1"),
        lambda one: setattr(one.job, "organization_id", "org/../x"),
        lambda one: setattr(one.job, "organization_id", ""),
        lambda one: setattr(one.job, "base_model_slug", "a b"),
        lambda one: setattr(one.job, "lane", 70_000),
        lambda one: setattr(one.job.deadline, "seconds", 2**60),
        lambda one: setattr(one, "idempotency_key", "k\0"),
        lambda one: setattr(one, "key_id", "k" * 256),
        lambda one: setattr(one.job.parameters, "model_id", "m\0"),
        lambda one: one.metadata.update({"a": "b" * 70_000}),
    ],
)
async def test_a_submission_that_makes_no_sense_is_refused_and_its_mates_are_not(status, spoil):
    bad, good = submission(), submission()
    spoil(bad)
    refused, accepted = await status.accept(bad, good)
    assert refused.error.reason == error_reason_pb2.ERROR_REASON_INVALID_PARAMETER
    assert not accepted.HasField("error")


async def test_metadata_comes_back_as_it_was_given(status):
    one = submission()
    one.metadata.update({"nul": "a\0b", "emoji": "\N{CAT}", "": ""})
    await status.accept(one)
    assert dict((await status.get(one.job.run_id)).metadata) == dict(one.metadata)


async def test_outcomes_that_nobody_can_use_are_dropped_and_the_good_one_counts(status, broker):
    run_id = (await status.accept(submission()))[0].run_id
    await status.claim(run_id)
    subject = subjects.outcome(run_id)
    await broker.publish_outcome(subject, b"\xff\xff", message_id=new_id("evt"))
    for outcome in (outcome_of(f"{run_id}\0\0", 7), outcome_of(new_id("gen"), -5), outcome_of(run_id, 1, 7)):
        await broker.publish_outcome(subject, outcome.SerializeToString(), message_id=new_id("evt"))
    imageless = outcome_of("gen_\0", 1)
    imageless.ClearField("image")
    await broker.publish_outcome(subject, imageless.SerializeToString(), message_id=new_id("evt"))
    assert (await status.get(run_id)).status == generation_pb2.STATUS_RUNNING
    failed = outcome_of(run_id, 1, generation_pb2.STATUS_FAILED)
    failed.error.code, failed.error.message = "out_of\0_memory", "The device\0 is full."
    await say(broker, failed)
    done = await status.until(run_id, lambda it: it.status == generation_pb2.STATUS_FAILED)
    assert (done.error.code, done.error.message) == ("out_of_memory", "The device is full.")


async def test_questions_that_make_no_sense_are_answered(status):
    for request in (
        pb.GetGenerationRequest(run_id="gen_\0"),
        pb.CancelGenerationRequest(run_id="gen_\0"),
    ):
        with pytest.raises(errors.NotFound):
            await status(request)
    late = pb.ListGenerationsRequest(organization_id="org_1")
    late.created_after.seconds = 2**60
    for request in (late, pb.ListGenerationsRequest(page_size=101), pb.ListGenerationsRequest(page_token="x")):
        with pytest.raises(errors.InvalidParameter):
            await status(request)
    assert not (await status(pb.GetStatusesRequest(run_ids=["\0"]))).statuses
    assert (await status.claim("gen_\0")).verdict == pb.CLAIM_VERDICT_UNKNOWN
    with pytest.raises(errors.InvalidParameter):
        await status.accept(*(submission() for _ in range(257)))
