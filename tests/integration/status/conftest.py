"""Status served over gRPC on real Postgres and NATS, in a fresh database per test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from imagineo import errors
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.ids import new_id
from imagineo.postgres.migrations import migrate
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.settings import Secret
from imagineo.v1 import event_pb2, generation_pb2, generation_service_pb2_grpc, job_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.status import app
from services.status.settings import Settings

MIGRATIONS = Path(app.__file__).parent / "migrations"


class StatusClient:
    """Calls one replica as gateway and workers would."""

    def __init__(self, channel):
        self.channel = channel
        self.stub = generation_service_pb2_grpc.GenerationServiceStub(channel)

    async def __call__(self, request, timeout_s=10.0):
        method = type(request).__name__.removesuffix("Request")
        return await call(getattr(self.stub, method), request, timeout_s=timeout_s)

    async def accept(self, *submissions):
        return list((await self(pb.AcceptRequest(submissions=submissions))).acceptances)

    async def claim(self, run_id, worker="w1", incarnation="i1"):
        return await self(pb.ClaimRequest(run_id=run_id, worker_id=worker, incarnation=incarnation))

    async def get(self, run_id, organization_id=""):
        request = pb.GetGenerationRequest(run_id=run_id, organization_id=organization_id)
        return (await self(request)).generation

    async def cancel(self, run_id, organization_id="org_1"):
        request = pb.CancelGenerationRequest(run_id=run_id, organization_id=organization_id)
        return (await self(request)).generation

    async def until(self, run_id, reached, organization_id="org_1"):
        """Watch a run until `reached(generation)`."""
        request = pb.WatchGenerationRequest(organization_id=organization_id, run_id=run_id)
        stream = self.stub.WatchGeneration(request, timeout=30)
        async for response in stream:
            if reached(response.generation):
                stream.cancel()
                return response.generation
        raise AssertionError("the watch ended before")


def submission(run_id="", organization="org_1", limit=1000, key="", body=b"b" * 32, deadline=None):
    job = job_pb2.Job(
        run_id=run_id or new_id("gen"),
        organization_id=organization,
        lane=job_pb2.LANE_FREE,
        base_model_slug="tiny",
        parameters=generation_pb2.Parameters(
            positive_prompt="a red cat", model_id="base_1", width=64, height=64, steps=4, seed=5
        ),
    )
    if deadline is not None:
        job.deadline.FromDatetime(deadline)
    return pb.Submission(
        job=job, key_id="key_1", idempotency_key=key, body_sha256=body, queued_runs_limit=limit, metadata={"a": "b"}
    )


def outcome_of(run_id, attempt, status=generation_pb2.STATUS_COMPLETED):
    outcome = event_pb2.Outcome(run_id=run_id, attempt=attempt, status=status, worker_id="w1")
    if status == generation_pb2.STATUS_COMPLETED:
        key = f"images/org_1/{run_id}/{attempt}.png"
        outcome.image.CopyFrom(generation_pb2.Image(store_key=key, width=64, height=64, size_bytes=3))
    return outcome


async def say(broker, outcome):
    subject, message_id = subjects.outcome(outcome.run_id), f"{outcome.run_id}.{outcome.attempt}"
    await broker.publish_outcome(subject, outcome.SerializeToString(), message_id=message_id)


async def pull_jobs(broker, run_ids, lane=job_pb2.LANE_FREE):
    """Take jobs of `tiny` until each of the runs was seen."""
    missing = set(run_ids)
    async with broker.wakeups("tiny") as wake:
        await broker.ensure_queue("tiny")
        while missing:
            with contextlib.suppress(errors.Unavailable):
                delivery = await broker.next_job(subjects.queue("tiny", lane))
                if delivery is not None:
                    missing.discard(job_pb2.Job.FromString(delivery.body).run_id)
                    await delivery.ack()
                    continue
            await wake.wait(0.5)


@pytest.fixture
async def broker(nats):
    one = await JetStreamBroker.connect(nats.url, name="test")
    yield one
    await one.close()


@pytest.fixture(scope="session")
def template(postgres):
    dsn = postgres.new_database()
    migrate(dsn, "status", MIGRATIONS)
    return dsn.rpartition("/")[2]


@pytest.fixture
def status_dsn(postgres, template):
    name = f"status_{new_id('evt')[4:]}"
    postgres.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.dsn(name)


@contextlib.asynccontextmanager
async def serving(dsn, nats_url, folder) -> AsyncIterator[int]:
    """A replica's port."""
    settings = Settings(postgres_dsn=Secret(dsn), nats_url=nats_url, blobs_url=f"file://{folder}", listen="127.0.0.1:0")
    async with app.running(settings, None, None) as port:
        yield port


@contextlib.asynccontextmanager
async def replica(dsn, nats_url, folder) -> AsyncIterator[StatusClient]:
    async with serving(dsn, nats_url, folder) as port:
        channel = connect(f"127.0.0.1:{port}")
        try:
            yield StatusClient(channel)
        finally:
            await channel.close(None)


@pytest.fixture
async def status(status_dsn, nats, tmp_path):
    async with replica(status_dsn, nats.url, tmp_path) as client:
        yield client
