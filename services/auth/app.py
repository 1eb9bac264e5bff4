"""Wires the service: the only module that makes adapters. It starts while its dependencies are down and heals."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from imagineo import process
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.client import check_health
from imagineo.rpc.server import RpcServer, watch_readiness
from imagineo.telemetry.metrics import RpcMetrics
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness
from imagineo.v1 import auth_service_pb2, auth_service_pb2_grpc, generation_service_pb2_grpc

from services.auth.authorizer import Authorizer
from services.auth.key_cache import KeyCache
from services.auth.last_use import LastUse
from services.auth.metrics import AuthMetrics
from services.auth.repository import Repository
from services.auth.servicer import AuthServicer
from services.auth.settings import Settings
from services.auth.settlement import Settler
from services.auth.sweeper import Sweeper, asker

_SERVICE_NAME: Final = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    metrics: AuthMetrics | None,
    rpc_metrics: RpcMetrics | None,
    probes: Probes | None = None,
) -> AsyncIterator[int]:
    """Serve while the block runs; gives the bound port. Metrics are the process's and come from outside."""
    tls = settings.tls_identity()
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.open(
            settings.postgres_dsn.reveal(), application_name="imagineo-auth", max_size=settings.postgres_connections
        )
        stack.push_async_callback(database.close)
        broker = await JetStreamBroker.connect(
            settings.nats_url, name="auth", access=settings.nats_access, makes_streams=False
        )
        stack.push_async_callback(broker.close)
        channel = connect(settings.status_address, tls)
        stack.push_async_callback(channel.close, None)

        repository, cache, last_use = Repository(database), KeyCache(), LastUse()
        authorizer = Authorizer(repository, cache, last_use, metrics)
        sweeper = Sweeper(repository, asker(generation_service_pb2_grpc.GenerationServiceStub(channel)), metrics)
        server = RpcServer(settings.listen, metrics=rpc_metrics, tls=tls)
        servicer = AuthServicer(repository, authorizer, cache, metrics)
        server.add(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, servicer, _SERVICE_NAME)
        port = await server.start()

        # NATS and status may be away: settling waits, authorizing goes on.
        readiness = Readiness(
            {
                "postgres": repository.check_schema,
                "nats": broker.check,
                "status": lambda: check_health(channel),
            },
            optional=("nats", "status"),
        )
        settler = Settler(repository, metrics)
        works = process.background(
            lambda: watch_readiness(server, readiness, probes),
            lambda: settler.run(broker),
            sweeper.run,
            lambda: last_use.run(repository.touch_keys),
        )
        await stack.enter_async_context(works)
        stack.push_async_callback(server.drain)
        yield port
