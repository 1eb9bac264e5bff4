"""Wires the catalog together: the one place that makes its adapters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from imagineo import process
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.errors import FailedPrecondition
from imagineo.postgres.pool import Database
from imagineo.rpc.server import RpcServer, watch_readiness
from imagineo.telemetry import metrics
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness
from imagineo.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server

from services.catalog.base_modules import BaseModulesReader
from services.catalog.repository import CatalogRepository
from services.catalog.seeding import Seeder
from services.catalog.servicer import CatalogServicer
from services.catalog.settings import CatalogSettings
from services.catalog.shelf import Shelf
from services.catalog.uploads import LoraUploads

log = logging.getLogger(__name__)

SERVICE_NAME: Final = "imagineo.v1.CatalogService"


async def serve(settings: CatalogSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain; database and store may be away at the start and at any time."""
    database = await Database.open(settings.postgres_dsn.reveal(), application_name="imagineo-catalog")
    repository = CatalogRepository(database)
    blobs = ObstoreBlobs.from_url(settings.blobs_url) if settings.blobs_url else None
    shelf = Shelf(repository, blobs) if blobs else None
    uploads = None
    if blobs and shelf:
        folder = Path(settings.upload_dir or tempfile.gettempdir())
        uploads = LoraUploads(
            *(repository, shelf, BaseModulesReader(blobs)), folder=folder, limit_bytes=settings.lora_limit_bytes
        )
        await asyncio.to_thread(uploads.remove_leftovers)
    server = RpcServer(settings.listen, metrics=metrics.RpcMetrics("catalog"), tls=settings.tls_identity())
    server.add(add_CatalogServiceServicer_to_server, CatalogServicer(repository, uploads), SERVICE_NAME)
    probes = Probes()
    metrics_port = metrics.serve(settings.metrics_listen, probes)
    port = await server.start()
    # The store may be away: models are looked up all the same, and uploads refused.
    checks = {"postgres": repository.check_schema, **({"blobs": blobs.ping} if blobs else {})}
    readiness = Readiness(checks, optional=("blobs",))
    works = process.background(
        lambda: metrics.watch_loop_lag("catalog", probes),
        lambda: watch_readiness(server, readiness, probes),
        *([lambda: shelf.keep_sweeping(settings.file_grace_s)] if shelf else []),
    )
    process.write_ports(settings.ports_file, listen=port, metrics=metrics_port)
    log.info("catalog serves on port %d", port)
    try:
        async with works:
            probes.begin()
            await stop.wait()
            probes.drain()
    finally:
        await server.drain(settings.drain_s)
        await database.close()
        if blobs:
            await blobs.close()


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
