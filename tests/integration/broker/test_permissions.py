"""Who may do what on the broker: the list of the chart, enforced by the real server, refuses a service all else.

That the list is enough is what every end-to-end test shows: the local platform runs under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator

import nats as nats_client
import pytest
from imagineo.broker import streams, subjects
from imagineo.broker.access import NatsAccess
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.settings import Secret
from imagineo.v1 import job_pb2
from nats.aio.client import Client

from deploy.local import nats as local
from tests.support.deadlines import SURELY_S
from tests.support.servers import NatsServer

TOKEN = "0123456789"
SERVICES = ("auth", "gateway", "status", "webhooks", "worker")
QUEUE = subjects.queue("starter", job_pb2.LANE_FREE)
JOB = subjects.job("starter", job_pb2.LANE_FREE)

#: What is said on the broker, and who may say it.
PUBLISHERS = {
    JOB: {"gateway", "status"},
    subjects.outcome("gen_1"): {"worker"},
    subjects.event("completed", "gen_1"): {"status"},
    subjects.progress("gen_1"): {"worker"},
    subjects.change("gen_1"): {"status"},
    subjects.cancel("gen_1"): {"status"},
    subjects.worker("w"): {"worker"},
    subjects.nudge("w"): {"worker"},
    subjects.preview("gen_1"): {"worker"},
    subjects.preview_ask("gen_1"): {"gateway"},
    "imagineo.v2.jobs.starter.free": set(),
    "_INBOX.gateway.1.2": set(),
    f"$JS.API.CONSUMER.CREATE.JOBS.{QUEUE}.{JOB}": {"worker"},
    f"$JS.API.CONSUMER.MSG.NEXT.JOBS.{QUEUE}": {"worker"},
    f"$JS.ACK.JOBS.{QUEUE}.1.1.1.1.0": {"worker"},
    f"$JS.API.CONSUMER.CREATE.OUTCOMES.status.{subjects.OUTCOMES}": {"status"},
    "$JS.API.CONSUMER.MSG.NEXT.OUTCOMES.status": {"status"},
    "$JS.ACK.OUTCOMES.status.1.1.1.1.0": {"status"},
    "$JS.API.DIRECT.GET.JOBS": {"status"},
    **{
        f"$JS.API.{call}": {service}
        for service in ("auth", "webhooks")
        for call in (f"CONSUMER.CREATE.EVENTS.{service}.{subjects.EVENTS}", f"CONSUMER.MSG.NEXT.EVENTS.{service}")
    },
    "$JS.ACK.EVENTS.auth.1.1.1.1.0": {"auth"},
    "$JS.ACK.EVENTS.webhooks.1.1.1.1.0": {"webhooks"},
    **{
        f"$JS.API.STREAM.{verb}.{stream}": {"status"}
        for verb in ("INFO", "CREATE", "UPDATE")
        for stream in streams.STREAMS
    },
    **{f"$JS.API.STREAM.{verb}.{stream}": set() for verb in ("DELETE", "PURGE") for stream in streams.STREAMS},
    f"$JS.API.CONSUMER.DELETE.JOBS.{QUEUE}": set(),
    "$JS.API.CONSUMER.DELETE.EVENTS.auth": set(),
}
#: What can be listened to, and who may.
LISTENERS = {
    **{f"_INBOX.{service}.>": {service} for service in SERVICES},
    "_INBOX.>": set(),
    ">": set(),
    "$SYS.>": set(),
    subjects.jobs_of("starter"): {"worker"},
    subjects.OUTCOMES: set(),
    subjects.EVENTS: set(),
    subjects.EVERY_PROGRESS: {"status"},
    subjects.EVERY_CHANGE: {"status"},
    subjects.EVERY_CANCEL: {"worker"},
    subjects.EVERY_WORKER: {"gateway", "status", "worker"},
    subjects.EVERY_PREVIEW_ASK: {"worker"},
    subjects.nudge("w"): {"worker"},
    subjects.preview("gen_1"): {"gateway"},
}


class GuardedServer(NatsServer):
    """NATS with the permissions of the chart."""

    def command(self) -> list[str]:
        config = self.data / "nats.conf"
        config.write_text(local.authorization(TOKEN))
        return [*super().command(), "-c", str(config)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedServer]:
    guarded = GuardedServer(tmp_path_factory.mktemp("nats"))
    guarded.start()
    yield guarded
    guarded.stop()


class Refusals:
    """What the server refused one client; refusals may come after the answer to a later flush."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self._more = asyncio.Event()

    async def note(self, problem: Exception) -> None:
        self.said.add(str(problem).removeprefix("nats: permissions violation for ").replace('"', ""))
        self._more.set()

    async def are(self, expected: set[str]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SURELY_S):
                while len(self.said) < len(expected):
                    self._more.clear()
                    await self._more.wait()
        assert self.said == expected


@contextlib.asynccontextmanager
async def signed_in(server: GuardedServer, service: str) -> AsyncIterator[tuple[Client, Refusals]]:
    """A client of a service."""
    refusals = Refusals()
    client = await nats_client.connect(
        server.url, user=service, password=local.password(service, TOKEN), error_cb=refusals.note, allow_reconnect=False
    )
    try:
        yield client, refusals
    finally:
        await client.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_publishes_what_is_its_role_and_nothing_else(server: GuardedServer, service: str):
    async with signed_in(server, service) as (client, refusals):
        for subject in PUBLISHERS:
            await client.publish(subject, b"")
        await client.flush()

        await refusals.are(
            {f"publish to {subject}".lower() for subject, publishers in PUBLISHERS.items() if service not in publishers}
        )


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_listens_to_what_is_its_role_and_nothing_else(server: GuardedServer, service: str):
    async with signed_in(server, service) as (client, refusals):
        for subject in LISTENERS:
            await client.subscribe(subject)
        await client.flush()

        await refusals.are(
            {
                f"subscription to {subject}".lower()
                for subject, listeners in LISTENERS.items()
                if service not in listeners
            }
        )


def test_nothing_is_allowed_that_no_line_above_asks_for():
    allowed = json.loads(local.PERMISSIONS.read_text())

    assert set(allowed) == set(SERVICES)
    for service, may in allowed.items():
        for way, table in (("publish", PUBLISHERS), ("subscribe", LISTENERS)):
            asked = [subject for subject, services in table.items() if service in services]
            unasked = [
                pattern for pattern in may[way] if not any(subjects.matches(pattern, subject) for subject in asked)
            ]
            assert not unasked, (service, way)


async def test_the_services_work_together_under_them(server: GuardedServer):
    def connect(service: str) -> asyncio.Task[JetStreamBroker]:
        access = NatsAccess(user=service, password=Secret(local.password(service, TOKEN)))
        makes = service == "status"
        return asyncio.ensure_future(
            JetStreamBroker.connect(server.url, name=f"{service} 1", access=access, makes_streams=makes, wait_s=10)
        )

    status, gateway, worker, auth = [await connect(name) for name in ("status", "gateway", "worker", "auth")]
    settled, heard = asyncio.Event(), asyncio.Event()

    async def settle(deliveries: list) -> None:
        for delivery in deliveries:
            await delivery.ack()
        await status.publish_event(subjects.event("completed", "gen_1"), b"", message_id="gen_1.end")
        settled.set()

    async def hear(deliveries: list) -> None:
        for delivery in deliveries:
            await delivery.ack()
        heard.set()

    works = [
        asyncio.create_task(status.consume("OUTCOMES", "status", settle)),
        asyncio.create_task(auth.consume("EVENTS", "auth", hear)),
    ]
    try:
        await worker.ensure_queue("starter")
        async with worker.wakeups("starter") as wakeup:
            assert await worker.next_job(QUEUE) is None  # answered: the server knows who listens
            sequence = await gateway.publish_job(JOB, b"job", message_id="gen_1")
            assert await wakeup.wait(5)
        assert await status.job_exists(sequence, "gen_1")
        delivery = await worker.next_job(QUEUE)
        assert delivery is not None
        await delivery.in_progress()
        await worker.publish_outcome(subjects.outcome("gen_1"), b"", message_id="gen_1.1")
        await delivery.ack()
        async with asyncio.timeout(SURELY_S):
            await settled.wait()
            await heard.wait()
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        for broker in (status, gateway, worker, auth):
            await broker.close()
