"""Random lives of runs on the real tables, against what must hold whatever happens in whichever order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from imagineo.jobs.states import TERMINAL, Cancellation, Claim, Ending, Inspection, Renewal, Verdict
from imagineo.postgres.pool import Database
from imagineo.v1 import generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status.admission import Candidate
from services.status.repository.dispatch import Dispatch
from services.status.repository.runs import Runs, Word
from services.status.repository.submissions import Submissions
from tests.integration.status.conftest import outcome_of, submission

pytestmark = pytest.mark.integration

LIMIT = 4
ORGANIZATIONS = ("org_1", "org_2")
ENDINGS = (
    generation_pb2.STATUS_COMPLETED,
    generation_pb2.STATUS_FAILED,
    generation_pb2.STATUS_CANCELED,
    generation_pb2.STATUS_QUEUED,
)


class Lives(RuleBasedStateMachine):
    """Workers, owners, the relay and time act on a few runs."""

    loop: asyncio.AbstractEventLoop
    database: Database
    runs = Bundle("runs")

    def __init__(self):
        super().__init__()
        self.seen = {}
        self.holders = {}
        self.do(
            self.database.execute(
                "TRUNCATE status.generations, status.submissions, status.unfinished, status.organizations,"
                " status.idempotency, status.announcements, status.leftovers"
            )
        )

    def do(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def say(self, run_id, event, outcome=None):
        [reply] = self.do(Runs(self.database).apply([Word(run_id, event, outcome)]))
        return reply

    @rule(target=runs, organization=st.sampled_from(ORGANIZATIONS), count=st.integers(1, 3))
    def accept(self, organization, count):
        before = self.do(self.unfinished(organization))
        wanted = [Candidate(submission(organization=organization, limit=LIMIT), 1) for _ in range(count)]
        answers, admitted = self.do(Submissions(self.database).accept(wanted))
        assert len(admitted) == min(count, LIMIT - before)
        assert sum(isinstance(answer, pb.Acceptance) for answer in answers) == len(admitted)
        again, made = self.do(Submissions(self.database).accept(admitted)) if admitted else ([], [])
        assert made == []
        assert all(isinstance(answer, pb.Acceptance) for answer in again)
        return multiple(*(candidate.run_id for candidate in admitted))

    @rule(run_id=runs, worker=st.sampled_from(["v", "w"]), incarnation=st.sampled_from(["1", "2"]))
    def claim(self, run_id, worker, incarnation):
        reply = self.say(run_id, Claim(worker, incarnation))
        if reply.verdict == Verdict.GRANTED:
            holder = self.holders.setdefault((run_id, reply.run.attempt), (worker, incarnation))
            assert holder == (worker, incarnation), "two lives hold one attempt"

    @rule(run_id=runs, worker=st.sampled_from(["v", "w"]), attempt=st.integers(1, 4))
    def renew(self, run_id, worker, attempt):
        before = self.row(run_id)
        reply = self.say(run_id, Renewal(worker, attempt))
        is_holder = (attempt, worker) == (before["attempt"], before["worker_id"]) and before["status"] in (2, 3)
        assert (reply.verdict == Verdict.LOST) == (not is_holder)

    @rule(run_id=runs, attempt=st.integers(0, 4), status=st.sampled_from(ENDINGS))
    def end(self, run_id, attempt, status):
        before = self.row(run_id)
        outcome = outcome_of(run_id, attempt, status).SerializeToString()
        reply = self.say(
            run_id, Ending(attempt, status, "x" if status == generation_pb2.STATUS_FAILED else ""), outcome
        )
        is_holder = attempt == before["attempt"] and before["status"] in (2, 3)
        assert (reply.verdict == Verdict.APPLIED) == is_holder

    @rule(run_id=runs)
    def cancel(self, run_id):
        self.say(run_id, Cancellation())
        assert self.row(run_id)["status"] not in (1, 2)

    @rule(run_id=runs, seconds=st.sampled_from([5, 9, 40]))
    def let_time_pass(self, run_id, seconds):
        age = "UPDATE status.generations SET lease_until = lease_until - $2::interval WHERE run_id = $1"
        self.do(self.database.execute(age, run_id, timedelta(seconds=seconds)))
        self.say(run_id, Inspection())

    @rule(run_id=runs, age=st.sampled_from([0, 0, 0, 1]), percents=st.lists(st.integers(0, 99), min_size=2, max_size=3))
    def progress(self, run_id, age, percents):
        attempt = self.row(run_id)["attempt"] - age
        for percent in percents:
            before = self.row(run_id)
            self.do(Runs(self.database).save_progress([(run_id, attempt, percent, percent)]))
            is_news = age == 0 and before["status"] == generation_pb2.STATUS_RUNNING
            assert self.row(run_id)["progress"] == (max(before["progress"], percent) if is_news else before["progress"])

    @rule(run_id=runs, sequence=st.integers(1, 9))
    def publish(self, run_id, sequence):
        self.do(Dispatch(self.database).mark_published([(run_id, sequence), (run_id, sequence)]))

    @rule()
    def relay(self):
        self.do(self.database.execute("UPDATE status.unfinished SET due_at = now() - interval '1 s'"))
        taken = self.do(Dispatch(self.database).take_due(128, with_running=True))
        assert self.do(Dispatch(self.database).take_due(128, with_running=True)) == []
        assert len(taken) == sum(self.do(self.unfinished(one)) for one in ORGANIZATIONS)

    async def unfinished(self, organization):
        sql = "SELECT count(*) FROM status.generations WHERE organization_id = $1 AND status <= 3"
        return await self.database.fetchval(sql, organization)

    def row(self, run_id):
        return self.do(self.database.fetchrow("SELECT * FROM status.generations WHERE run_id = $1", run_id))

    @invariant()
    def counters_equal_rows(self):
        for organization in ORGANIZATIONS:
            sql = "SELECT coalesce(sum(unfinished), 0) FROM status.organizations WHERE organization_id = $1"
            assert self.do(self.database.fetchval(sql, organization)) == self.do(self.unfinished(organization))
        sql = "SELECT g.status, u.queued FROM status.generations AS g FULL JOIN status.unfinished AS u USING (run_id)"
        for row in self.do(self.database.fetch(sql)):
            assert row["queued"] == {1: True, 2: False, 3: False}.get(row["status"])

    @invariant()
    def nothing_goes_back(self):
        rows = self.do(self.database.fetch("SELECT * FROM status.generations"))
        announced = {row["run_id"] for row in self.do(self.database.fetch("SELECT run_id FROM status.announcements"))}
        for row in rows:
            before = self.seen.get(row["run_id"])
            if before is not None:
                assert row["version"] >= before["version"]
                assert row["progress"] >= before["progress"]
                assert row["attempt"] >= before["attempt"]
                assert dict(row) == dict(before) or before["status"] not in TERMINAL, "a terminal run changed"
            assert (row["run_id"] in announced) == (row["status"] in TERMINAL)
            assert (row["progress"] == 100) == (row["status"] == generation_pb2.STATUS_COMPLETED)
            assert row["attempt"] - row["handed_back"] <= 3
            self.seen[row["run_id"]] = row


def test_random_lives_keep_every_promise(status_dsn):
    loop = asyncio.new_event_loop()
    database = loop.run_until_complete(Database.open(status_dsn, application_name="test"))
    Lives.loop, Lives.database = loop, database
    limits = settings(
        max_examples=50,
        stateful_step_count=40,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(Lives, settings=limits)
    finally:
        loop.run_until_complete(database.close())
        loop.close()
