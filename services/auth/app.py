"""Wires the service: the only module that makes adapters. It starts while its dependencies are down and heals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from imagineo.broker.jetstream import JetStreamBroker
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.server import RpcServer
from imagineo.telemetry.metrics import RpcMetrics
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

log = logging.getLogger(__name__)

_SERVICE_NAME: Final = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name
#: How soon health checks learn that the database went or came back.
_WATCH_INTERVAL_S: Final = 1.0
_RESTART_S: Final = 5.0


@contextlib.asynccontextmanager
async def running(
    settings: Settings, metrics: AuthMetrics | None, rpc_metrics: RpcMetrics | None
) -> AsyncIterator[int]:
    """Serve while the block runs; gives the bound port. Metrics are the process's and come from outside."""
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.open(
            settings.postgres_dsn.reveal(), application_name="imagineo-auth", max_size=settings.postgres_connections
        )
        stack.push_async_callback(database.close)
        broker = await JetStreamBroker.connect(settings.nats_url, name="auth")
        stack.push_async_callback(broker.close)
        channel = connect(settings.status_address)
        stack.push_async_callback(channel.close, None)

        repository, cache, last_use = Repository(database), KeyCache(), LastUse()
        authorizer = Authorizer(repository, cache, last_use, metrics)
        sweeper = Sweeper(repository, asker(generation_service_pb2_grpc.GenerationServiceStub(channel)), metrics)
        server = RpcServer(settings.listen, metrics=rpc_metrics)
        servicer = AuthServicer(repository, authorizer, cache, metrics)
        server.add(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, servicer, _SERVICE_NAME)
        port = await server.start()

        readiness = Readiness({"postgres": repository.check_schema})
        settler = Settler(repository, metrics)
        for work in (
            lambda: _watch_readiness(server, readiness),
            lambda: settler.run(broker),
            sweeper.run,
            lambda: last_use.run(repository.touch_keys),
        ):
            stack.push_async_callback(_end, asyncio.create_task(_kept(work)))
        stack.push_async_callback(server.drain)
        yield port


async def _watch_readiness(server: RpcServer, readiness: Readiness) -> None:
    """Keep the health service true. NATS and status may be away: settling waits, authorizing goes on."""
    known: dict[str, str] = {}
    while True:
        problems = await readiness.problems()
        if problems != known:
            log.info("not ready: %s", problems) if problems else log.info("ready")
            await server.set_serving(serving=not problems)
            known = problems
        await asyncio.sleep(_WATCH_INTERVAL_S)


async def _kept(work: Callable[[], Awaitable[None]]) -> None:
    """Run background work for ever: what it did not foresee, a schema not migrated yet say, ends one turn of it."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work failed and starts again in %g s", _RESTART_S)
        await asyncio.sleep(_RESTART_S)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
