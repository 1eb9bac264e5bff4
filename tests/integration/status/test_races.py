"""Cancels, claims, outcomes and time meet in every order: each run ends once, is announced once, leaves no trace."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import pytest
from imagineo.ids import new_id
from imagineo.jobs.states import TERMINAL
from imagineo.v1 import event_pb2, generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status import watch
from tests.integration.status.conftest import outcome_of, replica, say, submission
from tests.support.deadlines import STARTED_WITHIN_S

pytestmark = pytest.mark.integration

RUNS = 320


class Announcements:
    """Event ids by run, from the stream EVENTS as a consumer of one's own sees it."""

    def __init__(self, broker, run_ids):
        self.missing = set(run_ids)
        self.event_ids = defaultdict(list)
        self.statuses = {}
        self.complete = asyncio.Event()
        self.task = asyncio.create_task(broker.consume("EVENTS", f"test-{new_id('evt')}", self.take))

    async def take(self, deliveries):
        for delivery in deliveries:
            change = event_pb2.GenerationChanged.FromString(delivery.body)
            self.event_ids[change.generation.run_id].append(change.event_id)
            self.statuses[change.generation.run_id] = change.generation.status
            self.missing.discard(change.generation.run_id)
            await delivery.ack()
        if not self.missing:
            self.complete.set()

    async def wait(self):
        async with asyncio.timeout(STARTED_WITHIN_S):
            await self.complete.wait()
        self.task.cancel()
        await asyncio.wait({self.task})


async def race(clients, broker, run_id, order):
    """Let four act on one run at once, begun in a drawn order."""
    client = order.choice(clients)
    if order.random() < 0.6:
        await client.claim(run_id, "v")
    status = order.choice([generation_pb2.STATUS_COMPLETED, generation_pb2.STATUS_FAILED, generation_pb2.STATUS_QUEUED])
    acts = [
        lambda: client.claim(run_id, "v"),
        lambda: client.claim(run_id, "w"),
        lambda: order.choice(clients).cancel(run_id),
        lambda: say(broker, outcome_of(run_id, 1, status)),
    ]
    order.shuffle(acts)
    claims = await asyncio.gather(*(act() for act in acts))
    granted = [one for one in claims if isinstance(one, pb.ClaimResponse) and one.verdict == pb.CLAIM_VERDICT_GRANTED]
    assert len({one.attempt for one in granted}) == len(granted), "two workers hold one attempt"


@pytest.mark.parametrize("replicas", [1, 2])
async def test_every_race_ends_once(status_dsn, nats, broker, postgres, tmp_path, replicas):
    order = random.Random(replicas)  # noqa: S311 - it draws orders
    async with replica(status_dsn, nats.url, tmp_path) as one, replica(status_dsn, nats.url, tmp_path) as two:
        clients = [one, two][:replicas]
        run_ids = []
        for _ in range(RUNS // 64):
            wanted = [submission() for _ in range(64)]
            run_ids += [answer.run_id for answer in await one.accept(*wanted)]
        heard = Announcements(broker, run_ids)
        await asyncio.gather(*(race(clients, broker, run_id, order) for run_id in run_ids))
        # Whoever still holds a canceled run says so; the older attempts say it in vain.
        for attempt in (1, 2):
            stopped = [outcome_of(run_id, attempt, generation_pb2.STATUS_CANCELED) for run_id in run_ids]
            for outcome in stopped:
                outcome.worker_id = "late"
            await asyncio.gather(*(say_again(broker, outcome) for outcome in stopped))
        await heard.wait()
        statuses = (await one(pb.GetStatusesRequest(run_ids=run_ids))).statuses
    assert set(statuses.values()) <= TERMINAL
    assert len(set(statuses.values())) > 1, "all races went the same way"
    assert dict(statuses) == {run_id: heard.statuses[run_id] for run_id in run_ids}
    assert all(len(set(heard.event_ids[run_id])) == 1 for run_id in run_ids)
    name = status_dsn.rpartition("/")[2]
    assert postgres.sql("SELECT sum(unfinished) FROM status.organizations", name) == "0"
    assert postgres.sql("SELECT count(*) FROM status.unfinished", name) == "0"


async def say_again(broker, outcome):
    message_id = f"{outcome.run_id}.{outcome.attempt}.late"
    await broker.publish_outcome(
        f"imagineo.v1.outcomes.{outcome.run_id}", outcome.SerializeToString(), message_id=message_id
    )


async def test_a_watcher_at_one_replica_sees_what_is_done_at_the_other(status_dsn, nats, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LOOK_S", 60)  # it must be told
    async with replica(status_dsn, nats.url, tmp_path) as one, replica(status_dsn, nats.url, tmp_path) as two:
        [accepted] = await one.accept(submission())
        request = pb.WatchGenerationRequest(organization_id="org_1", run_id=accepted.run_id)
        watches = [client.stub.WatchGeneration(request, timeout=30) for client in (one, two) for _ in range(20)]
        first = [(await stream.read()).generation.status for stream in watches]
        assert set(first) == {generation_pb2.STATUS_QUEUED}
        await one.claim(accepted.run_id)
        second = [(await stream.read()).generation.status for stream in watches]
        assert set(second) == {generation_pb2.STATUS_RUNNING}
        await two.cancel(accepted.run_id)
        third = [(await stream.read()).generation.status for stream in watches]
        assert set(third) == {generation_pb2.STATUS_CANCELING}
        for stream in watches:
            stream.cancel()
