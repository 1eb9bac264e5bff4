"""One Postgres and one NATS per session, the schema migrated into a fresh database per test, auth served over gRPC."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
import pytest
from imagineo import keys
from imagineo.ids import new_id
from imagineo.postgres.migrations import migrate
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.settings import Secret
from imagineo.v1 import account_pb2, account_service_pb2_grpc, auth_service_pb2_grpc
from imagineo.v1 import auth_service_pb2 as pb

from services.auth import app
from services.auth.repository import Repository
from services.auth.settings import Settings
from tests.integration.auth.people import People
from tests.support.servers import NatsServer, PostgresServer, free_port

MIGRATIONS = Path(app.__file__).parent / "migrations"


@dataclasses.dataclass
class AuthClient:
    """Calls one replica as the gateway would."""

    stub: auth_service_pb2_grpc.AuthServiceStub
    port: int

    async def __call__(self, request, timeout_s: float = 10.0):
        method = type(request).__name__.removesuffix("Request")
        return await call(getattr(self.stub, method), request, timeout_s=timeout_s)

    async def new_key(self, plan: str = "premium", **limits: int) -> tuple[str, str, str]:
        """Make an organization and a key; gives organization id, key id and secret."""
        made = await self(
            pb.CreateOrganizationRequest(name="Test", plan=account_pb2.Plan.Value("PLAN_" + plan.upper()))
        )
        organization_id = made.organization.organization_id
        if limits:
            await self(
                pb.UpdateOrganizationRequest(organization_id=organization_id, limits=account_pb2.Limits(**limits))
            )
        key = await self(pb.CreateKeyRequest(organization_id=organization_id, name="test"))
        return organization_id, key.key.key_id, key.secret

    async def authorize(self, *checks: pb.Check) -> list[pb.Verdict]:
        return list((await self(pb.AuthorizeRequest(checks=checks))).verdicts)


def check_for(secret: str, *, reserve: str = "", permission=account_pb2.PERMISSION_GENERATIONS_WRITE) -> pb.Check:
    return pb.Check(key_sha256=keys.digest(secret), permission=permission, reserve_run_id=reserve)


def run_id() -> str:
    return new_id("gen")


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> str:
    """A database with the schema in it, to copy: migrating for each test would take most of the time."""
    dsn = postgres.new_database()
    migrate(dsn, "auth", MIGRATIONS)
    return dsn.rpartition("/")[2]


@pytest.fixture
def auth_dsn(postgres: PostgresServer, template: str) -> str:
    name = f"auth_{new_id('evt')[4:]}"
    postgres.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.dsn(name)


@pytest.fixture
async def database(auth_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(auth_dsn, application_name="test", max_size=4)
    yield opened
    await opened.close()


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database)


Start = Callable[..., AbstractAsyncContextManager[AuthClient]]


@pytest.fixture
def start(auth_dsn: str, nats: NatsServer) -> Start:
    """Start a replica: `async with start() as auth`."""

    @contextlib.asynccontextmanager
    async def replica(dsn: str = auth_dsn, status_address: str = "", **settings: str) -> AsyncIterator[AuthClient]:
        chosen = Settings(
            postgres_dsn=Secret(dsn),
            nats_url=nats.url,
            status_address=status_address or f"127.0.0.1:{free_port()}",
            listen="127.0.0.1:0",
            **{name: Secret(value) if name == "mail_url" else value for name, value in settings.items()},
        )
        async with app.running(chosen, None, None) as port:
            channel: grpc.aio.Channel = connect(f"127.0.0.1:{port}")
            async with channel:
                yield AuthClient(auth_service_pb2_grpc.AuthServiceStub(channel), port)

    return replica


@pytest.fixture
async def auth(start: Start) -> AsyncIterator[AuthClient]:
    async with start() as client:
        yield client


@pytest.fixture
async def people(start: Start) -> AsyncIterator[People]:
    async with start() as client, connect(f"127.0.0.1:{client.port}") as channel:
        yield People(account_service_pb2_grpc.AccountServiceStub(channel), client)
