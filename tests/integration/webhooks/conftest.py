"""Webhooks served over gRPC on real Postgres and NATS, with a clock that a test may turn and a real receiver."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.ids import new_id
from imagineo.postgres.migrations import migrate
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.settings import Secret
from imagineo.v1 import event_pb2, generation_pb2, webhook_pb2, webhook_service_pb2_grpc
from imagineo.v1 import webhook_service_pb2 as pb

from services.webhooks import app
from services.webhooks.settings import Settings
from tests.support.deadlines import SURELY_S
from tests.support.receiver import Receiver, receiver
from tests.support.servers import NatsServer, PostgresServer

MIGRATIONS = Path(app.__file__).parent / "migrations"
SECRET_KEY = Fernet.generate_key().decode()


def organization() -> str:
    return new_id("org")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/integration/webhooks" in item.path.as_posix():
            item.add_marker(pytest.mark.integration)


class Clock:
    """The real time, and as much more as a test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclasses.dataclass
class Hooks:
    """Calls one replica as the gateway would, and says events as status would."""

    stub: webhook_service_pb2_grpc.WebhookServiceStub
    broker: JetStreamBroker
    owner: str
    clock: Clock

    async def __call__(self, request: Any, timeout_s: float = 10.0) -> Any:
        method = type(request).__name__.removesuffix("Request")
        return await call(getattr(self.stub, method), request, timeout_s=timeout_s)

    async def create(self, url: str, *events: str, **fields: Any) -> tuple[str, str]:
        """Register an endpoint; gives its id and its secret."""
        request = pb.CreateWebhookRequest(**{"organization_id": self.owner, "url": url, "events": events} | fields)
        made = await self(request)
        return made.webhook.webhook_id, made.secret.secret

    async def webhook(self, webhook_id: str) -> webhook_pb2.Webhook:
        return (await self(pb.GetWebhookRequest(organization_id=self.owner, webhook_id=webhook_id))).webhook

    async def say(self, status=generation_pb2.STATUS_COMPLETED, *, run_id="", event_id="", **fields: Any) -> str:
        """Announce the end of a run; gives the event's id."""
        event = ending(status, owner=self.owner, run_id=run_id, event_id=event_id, **fields)
        subject = subjects.event("ended", event.generation.run_id)
        await self.broker.publish_event(subject, event.SerializeToString(), message_id=new_id("evt"))
        return event.event_id

    async def log(self, webhook_id: str = "", **fields: Any) -> list[webhook_pb2.WebhookDelivery]:
        request = pb.ListDeliveriesRequest(organization_id=self.owner, webhook_id=webhook_id, **fields)
        return list((await self(request)).deliveries)

    async def until(
        self,
        reached: Callable[[list[webhook_pb2.WebhookDelivery]], object],
        webhook_id: str = "",
        within_s: float = SURELY_S,
    ) -> list[webhook_pb2.WebhookDelivery]:
        """Read the log until it is so; a line of it announces itself nowhere."""
        async with asyncio.timeout(within_s):
            while not reached(found := await self.log(webhook_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found


def ending(status, *, owner: str, run_id="", event_id="", **fields: Any) -> event_pb2.GenerationChanged:
    """The event of a run that is over."""
    run = generation_pb2.Generation(
        run_id=run_id or new_id("gen"),
        organization_id=owner,
        status=status,
        progress=100,
        parameters=generation_pb2.Parameters(
            positive_prompt="a red cat", model_id="base_1", output_format=generation_pb2.OUTPUT_FORMAT_PNG
        ),
        **fields,
    )
    if status == generation_pb2.STATUS_COMPLETED:
        image = generation_pb2.Image(width=64, height=64, output_format=generation_pb2.OUTPUT_FORMAT_PNG, size_bytes=3)
        run.image.CopyFrom(image)
    event = event_pb2.GenerationChanged(event_id=event_id or new_id("evt"), generation=run)
    event.occurred_at.GetCurrentTime()
    run.created_at.GetCurrentTime()
    event.generation.created_at.GetCurrentTime()
    return event


def settings_of(dsn: str, nats_url: str, **changes: Any) -> Settings:
    values = {
        "postgres_dsn": Secret(dsn),
        "nats_url": nats_url,
        "public_url": "https://imagineo.test",
        "signing_key": Secret("0123456789abcdef"),
        "secret_keys": Secret(SECRET_KEY),
        "listen": "127.0.0.1:0",
        "allow_loopback": True,
        "timeout_s": 2.0,
    }
    return Settings(**values | changes)


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> str:
    """A database with the schema in it, to copy: migrating for each test would take most of the time."""
    dsn = postgres.new_database()
    migrate(dsn, "webhooks", MIGRATIONS)
    return dsn.rpartition("/")[2]


@pytest.fixture
def webhooks_dsn(postgres: PostgresServer, template: str) -> str:
    name = f"webhooks_{new_id('evt')[4:]}"
    postgres.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.dsn(name)


@pytest.fixture
async def database(webhooks_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(webhooks_dsn, application_name="test", max_size=4)
    yield opened
    await opened.close()


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[JetStreamBroker]:
    one = await JetStreamBroker.connect(nats.url, name="test")
    yield one
    await one.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Start = Callable[..., AbstractAsyncContextManager[Hooks]]


@pytest.fixture
def start(webhooks_dsn: str, nats: NatsServer, broker: JetStreamBroker, clock: Clock) -> Start:
    """Start a replica: `async with start() as hooks`."""
    owner = organization()

    @contextlib.asynccontextmanager
    async def replica(resolve: Any = None, **changes: Any) -> AsyncIterator[Hooks]:
        settings = settings_of(webhooks_dsn, nats.url, **changes)
        async with app.running(settings, None, None, clock=clock, resolve=resolve) as port:
            channel = connect(f"127.0.0.1:{port}")
            async with channel:
                yield Hooks(webhook_service_pb2_grpc.WebhookServiceStub(channel), broker, owner, clock)

    return replica


@pytest.fixture
async def hooks(start: Start) -> AsyncIterator[Hooks]:
    async with start() as one:
        yield one


@pytest.fixture
async def target() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one
