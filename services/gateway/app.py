"""Wires the gateway: the only place that builds adapters, and the life of the process from start to drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final

import msgspec
import uvicorn
from imagineo import process
from imagineo.blobs import Blobs
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.broker.port import Broker
from imagineo.rpc.channel import connect
from imagineo.telemetry import metrics as telemetry
from imagineo.telemetry import tracing
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness
from imagineo.wire.image_urls import UrlSigner
from starlette.types import ASGIApp

from services.gateway.admission import Admission
from services.gateway.authentication import Gatekeeper
from services.gateway.background import Background
from services.gateway.batch_admission import BatchAdmission
from services.gateway.contact_sheet import ContactSheets
from services.gateway.dashboard.routes import dashboard
from services.gateway.dispatch import router
from services.gateway.downloads import Downloads
from services.gateway.following import Following
from services.gateway.http_protocol import BoundedHttp
from services.gateway.large_bodies import LargeBodies
from services.gateway.llms import summary
from services.gateway.metrics import GatewayMetrics
from services.gateway.middleware.access_log import AccessLog
from services.gateway.middleware.body_limit import BodyLimit
from services.gateway.middleware.cross_origin import CrossOrigin
from services.gateway.middleware.error_answers import ErrorAnswers
from services.gateway.middleware.farewell import Farewell
from services.gateway.middleware.request_id import RequestId
from services.gateway.middleware.tracing import Tracing
from services.gateway.parts import Parts
from services.gateway.peers import Peers
from services.gateway.pictures import Pictures
from services.gateway.publishing import Publisher
from services.gateway.resolution import Resolver
from services.gateway.retraction import Retraction
from services.gateway.routes import ROUTES
from services.gateway.samples import Samples
from services.gateway.settings import GatewaySettings
from services.gateway.sources import Sources
from services.gateway.specification import document
from services.gateway.together import Together
from services.gateway.uploads import Uploads
from services.gateway.vigil import Vigil
from services.gateway.warmth import Warmth

log = logging.getLogger(__name__)

_BACKLOG: Final = 2_048


def wire(
    settings: GatewaySettings,
    *,
    peers: Peers,
    broker: Broker,
    blobs: Blobs,
    background: Background,
    metrics: GatewayMetrics,
) -> Parts:
    """Put the parts together around the given adapters."""
    gatekeeper = Gatekeeper(peers, metrics, settings.public_url)
    vigil = Vigil(gatekeeper.verdicts)
    publisher = Publisher(broker, peers, background, metrics, time.monotonic)
    resolver = Resolver(peers, time.monotonic)
    retraction = Retraction(peers, background)
    admission = Admission(peers, gatekeeper, resolver, publisher, retraction, metrics, time.time)
    uploads = Uploads(peers, blobs, Pictures(settings.pictures_at_once))

    described = document(ROUTES, server_url=settings.public_url)
    return Parts(
        settings=settings,
        peers=peers,
        gatekeeper=gatekeeper,
        admission=admission,
        together=Together(peers, gatekeeper, admission, publisher, retraction),
        batch_admission=BatchAdmission(peers, gatekeeper, resolver, retraction, time.time),
        large_bodies=LargeBodies(),
        contact_sheets=ContactSheets(blobs),
        downloads=Downloads(),
        sources=Sources(peers, uploads),
        uploads=uploads,
        following=Following(peers, broker, vigil, max_streams_count=settings.max_streams_count),
        vigil=vigil,
        retraction=retraction,
        resolver=resolver,
        samples=Samples(peers, admission, publisher),
        warmth=Warmth(time.monotonic),
        blobs=blobs,
        signer=UrlSigner(settings.signing_key, settings.image_url_ttl_s),
        readiness=Readiness(
            {**peers.health_checks(), "nats": broker.check, "blobs": blobs.ping}, optional=("nats", "blobs", "webhooks")
        ),
        draining=asyncio.Event(),
        openapi=msgspec.json.encode(described),
        llms=summary(described).encode(),
    )


def build(parts: Parts, metrics: GatewayMetrics) -> ASGIApp:
    """The ASGI app: the routes and the pages inside their layers."""
    pages = dashboard(parts)
    app: ASGIApp = router(parts, ROUTES, pages.routes, otherwise=pages.otherwise)
    limits_bytes = {
        (row.method, row.path): row.body_limit_bytes(parts.settings) for row in ROUTES if row.body_limit_bytes
    }
    app = BodyLimit(app, parts.settings.body_limit_bytes, limits_bytes)
    app = ErrorAnswers(app)
    if parts.settings.allowed_origins:
        app = CrossOrigin(app, parts.settings.allowed_origins)
    app = AccessLog(app, metrics)
    if tracing.is_on():
        app = Tracing(app)
    app = Farewell(app, parts.draining)
    return RequestId(app)


async def serve(settings: GatewaySettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let the requests in flight finish."""
    metrics, background, probes = GatewayMetrics(), Background(), Probes()
    tls = settings.tls_identity()
    peers = Peers(
        auth=connect(settings.auth_address, tls),
        catalog=connect(settings.catalog_address, tls),
        status=connect(settings.status_address, tls),
        webhooks=connect(settings.webhooks_address, tls),
    )
    broker = await JetStreamBroker.connect(
        settings.nats_url, name="gateway", access=settings.nats_access, makes_streams=False
    )
    blobs = ObstoreBlobs.from_url(settings.blobs_url)
    parts = wire(settings, peers=peers, broker=broker, blobs=blobs, background=background, metrics=metrics)
    beats = await broker.subscribe(subjects.EVERY_WORKER, parts.warmth.hear)
    server = _Server(_config(build(parts, metrics), settings))
    listener = _listen(settings.listen)
    metrics_port = telemetry.serve(settings.metrics_listen, probes)
    watches = process.background(
        lambda: telemetry.watch_loop_lag("gateway", probes), lambda: parts.readiness.watch(probes)
    )
    try:
        async with watches:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            process.write_ports(settings.ports_file, listen=listener.getsockname()[1], metrics=metrics_port)
            probes.begin()
            await _either(stop.wait(), serving)
            probes.drain()
            parts.draining.set()
            await _either(asyncio.sleep(settings.drain_delay_s), serving)
            parts.drain()
            server.should_exit = True
            await serving
            await background.drain(5.0)
    finally:
        await beats.close()
        await broker.close()
        await blobs.close()
        await peers.close()


async def _either(work: Coroutine[Any, Any, object], serving: asyncio.Task[None]) -> None:
    """Wait until the work is done, or until the server ended by itself."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task, serving}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()


class _Server(uvicorn.Server):
    """Leaves the signals to `imagineo.process`, which sets the stop event."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: ASGIApp, settings: GatewaySettings) -> uvicorn.Config:
    options: dict[str, Any] = {
        "http": BoundedHttp,
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "backlog": _BACKLOG,
        "timeout_keep_alive": settings.keep_alive_s,
        "timeout_graceful_shutdown": settings.drain_s,
    }
    return uvicorn.Config(app, **options)


def _listen(address: str) -> socket.socket:
    """Bind before serving, so that the port is known however it was chosen."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    listener.setblocking(False)
    return listener
