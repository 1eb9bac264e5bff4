"""Wires the catalog together: the one place that makes its adapters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

from imagineo import process
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.errors import FailedPrecondition
from imagineo.postgres.pool import Database
from imagineo.rpc.server import RpcServer, watch_readiness
from imagineo.telemetry import metrics
from imagineo.telemetry.readiness import Readiness
from imagineo.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server

from services.catalog.repository import CatalogRepository
from services.catalog.seeding import Seeder
from services.catalog.servicer import CatalogServicer
from services.catalog.settings import CatalogSettings

log = logging.getLogger(__name__)

SERVICE_NAME: Final = "imagineo.v1.CatalogService"


async def serve(settings: CatalogSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain; the database may be away at the start and at any time."""
    database = await Database.open(settings.postgres_dsn.reveal(), application_name="imagineo-catalog")
    server = RpcServer(settings.listen, metrics=metrics.RpcMetrics("catalog"))
    server.add(add_CatalogServiceServicer_to_server, CatalogServicer(CatalogRepository(database)), SERVICE_NAME)
    metrics_port = metrics.serve(settings.metrics_listen)
    port = await server.start()
    readiness = Readiness({"postgres": database.ping})
    works = process.background(lambda: metrics.watch_loop_lag("catalog"), lambda: watch_readiness(server, readiness))
    process.write_ports(settings.ports_file, listen=port, metrics=metrics_port)
    log.info("catalog serves on port %d", port)
    try:
        async with works:
            await stop.wait()
    finally:
        await server.drain()
        await database.close()


@contextlib.asynccontextmanager
async def seeder(settings: CatalogSettings) -> AsyncIterator[Seeder]:
    """Lend a seeder for one command.

    Raises:
        FailedPrecondition: if no object store is set.
    """
    if not settings.blobs_url:
        raise FailedPrecondition("IMAGINEO_CATALOG_BLOBS_URL is not set: there is nowhere to put the files.")
    database = await Database.open(settings.postgres_dsn.reveal(), application_name="imagineo-catalog-seed", max_size=2)
    blobs = ObstoreBlobs.from_url(settings.blobs_url)
    try:
        yield Seeder(CatalogRepository(database), blobs)
    finally:
        await blobs.close()
        await database.close()
