"""Wires the service: the only module that makes adapters. It starts while its dependencies are down and heals."""

from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import httpcore
from imagineo import process
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.postgres.pool import Database
from imagineo.rpc.server import RpcServer, watch_readiness
from imagineo.telemetry.metrics import RpcMetrics
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness
from imagineo.v1 import webhook_service_pb2, webhook_service_pb2_grpc
from imagineo.wire.image_urls import UrlSigner

from services.webhooks.alarm import Alarm
from services.webhooks.deliverer import Bounds, Deliverer, Writer
from services.webhooks.intake import Intake
from services.webhooks.metrics import WebhookMetrics
from services.webhooks.network import GuardedNetwork, Resolve, Resolver
from services.webhooks.payloads import Presenter
from services.webhooks.registry import Registry
from services.webhooks.repository.deliveries import Deliveries
from services.webhooks.repository.endpoints import Endpoints
from services.webhooks.retention import Retention
from services.webhooks.sender import Sender
from services.webhooks.servicer import WebhookServicer
from services.webhooks.settings import Settings
from services.webhooks.vault import Vault

_SERVICE_NAME: Final = webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"].full_name


def _now() -> datetime:
    return datetime.now(UTC)


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    metrics: WebhookMetrics | None,
    rpc_metrics: RpcMetrics | None,
    probes: Probes | None = None,
    *,
    clock: Callable[[], datetime] = _now,
    resolve: Resolve | None = None,
) -> AsyncIterator[int]:
    """Serve while the block runs; gives the bound port. Metrics are the process's and come from outside.

    Raises:
        ValueError: if SECRET_KEYS cannot be used.
    """
    vault = Vault(settings.secret_keys)
    tls = settings.tls_identity()
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.open(
            settings.postgres_dsn.reveal(), application_name="imagineo-webhooks", max_size=settings.postgres_connections
        )
        stack.push_async_callback(database.close)
        broker = await JetStreamBroker.connect(
            settings.nats_url, name="webhooks", access=settings.nats_access, makes_streams=False
        )
        stack.push_async_callback(broker.close)
        if resolve is None:
            resolve = resolver = Resolver(2 * settings.attempts_at_once)
            stack.callback(resolver.close)

        endpoints, deliveries = Endpoints(database), Deliveries(database)
        deliverer = Deliverer(
            deliveries,
            _writer(settings, vault),
            Sender(
                GuardedNetwork(resolve, allow_loopback=settings.allow_loopback),
                _tls(settings),
                timeout_s=settings.timeout_s,
            ),
            Alarm(endpoints, deliveries, metrics),
            metrics,
            bounds=Bounds(
                at_once=settings.attempts_at_once,
                at_one_origin=settings.attempts_at_one_origin,
                of_one_owner=settings.attempts_of_one_owner,
                lease=timedelta(seconds=2 * settings.timeout_s),
            ),
            clock=clock,
            chance=random.random,
        )
        intake = Intake(endpoints, deliveries, vault, metrics, clock=clock, queued=deliverer.wake, reach=settings.reach)
        registry = Registry(endpoints, vault, clock=clock, reach=settings.reach)
        servicer = WebhookServicer(registry, endpoints, deliveries, vault, clock=clock, wake=deliverer.wake)
        server = RpcServer(settings.listen, metrics=rpc_metrics, tls=tls)
        server.add(webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server, servicer, _SERVICE_NAME)
        port = await server.start()

        # NATS may be away: events wait in the stream, what is queued goes out.
        readiness = Readiness({"postgres": endpoints.check_schema, "nats": broker.check}, optional=("nats",))
        works = process.background(
            lambda: watch_readiness(server, readiness, probes),
            lambda: intake.run(broker),
            deliverer.run,
            Retention(deliveries, metrics, clock=clock).run,
        )
        await stack.enter_async_context(works)
        stack.push_async_callback(server.drain)
        yield port


def _writer(settings: Settings, vault: Vault) -> Writer:
    presenter = Presenter(settings.public_url, UrlSigner(settings.signing_key, settings.image_url_ttl_s))
    return Writer(presenter, vault, settings.reach)


def _tls(settings: Settings) -> ssl.SSLContext:
    context = httpcore.default_ssl_context()
    if settings.ca_file:
        context.load_verify_locations(settings.ca_file)
    return context
