"""Wires the service: the only module that makes adapters. It starts while its dependencies are down and heals."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from google.protobuf.message import DecodeError
from imagineo import process
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.postgres.pool import Database
from imagineo.rpc.server import RpcServer, watch_readiness
from imagineo.telemetry.metrics import RpcMetrics
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness
from imagineo.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    event_pb2,
    generation_service_pb2,
    generation_service_pb2_grpc,
    upload_service_pb2,
    upload_service_pb2_grpc,
)

from services.status.announcer import Announcer
from services.status.batch_servicer import BatchServicer
from services.status.eraser import Eraser
from services.status.feeder import Feeder
from services.status.metrics import StatusMetrics
from services.status.outcomes import Outcomes
from services.status.progress import ProgressBook
from services.status.queues import Queues
from services.status.reader import Reader
from services.status.relay import Relay
from services.status.repository.batches import Batches
from services.status.repository.deletion import Deletion
from services.status.repository.dispatch import Dispatch
from services.status.repository.expiry import Expiry
from services.status.repository.feeding import Feeding
from services.status.repository.listing import Listing
from services.status.repository.runs import Runs
from services.status.repository.submissions import Submissions
from services.status.repository.uploads import Uploads
from services.status.retention import Retention
from services.status.servicer import GenerationServicer
from services.status.settings import Settings
from services.status.sweeper import Sweeper
from services.status.transitions import Transitions
from services.status.upload_servicer import UploadServicer
from services.status.upload_shelf import UploadShelf
from services.status.watch import Watch
from services.status.workers import Workers

_SERVICE_NAME: Final = generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name
_BATCH_SERVICE_NAME: Final = batch_service_pb2.DESCRIPTOR.services_by_name["BatchService"].full_name
_UPLOAD_SERVICE_NAME: Final = upload_service_pb2.DESCRIPTOR.services_by_name["UploadService"].full_name


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    metrics: StatusMetrics | None,
    rpc_metrics: RpcMetrics | None,
    probes: Probes | None = None,
) -> AsyncIterator[int]:
    """Serve while the block runs; gives the bound port. Metrics are the process's and come from outside."""
    tls = settings.tls_identity()
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.open(
            settings.postgres_dsn.reveal(), application_name="imagineo-status", max_size=settings.postgres_connections
        )
        stack.push_async_callback(database.close)
        broker = await JetStreamBroker.connect(
            settings.nats_url, name="status", access=settings.nats_access, replicas=settings.nats_replicas
        )
        stack.push_async_callback(broker.close)
        blobs = ObstoreBlobs.from_url(settings.blobs_url)
        stack.push_async_callback(blobs.close)

        runs, dispatch, listing = Runs(database), Dispatch(database), Listing(database)
        workers = Workers()
        queues = Queues(workers)
        reader = Reader(listing, queues)
        watch = Watch(reader.many, reader.find, broker)
        announcer = Announcer(dispatch, reader.even_deleted, broker, metrics)
        batches = Batches(database)
        feeder = Feeder(Feeding(database), batches, dispatch, broker, workers, changed=watch.changed)
        ended = _both(announcer.wake, feeder.ended)
        transitions = Transitions(runs, broker, metrics, changed=watch.changed, ended=ended)
        progress = ProgressBook(runs, watch.changed)
        eraser = Eraser(Deletion(database), transitions, blobs)

        for subject, handler in (
            (subjects.EVERY_CHANGE, watch.hear),
            (subjects.EVERY_PROGRESS, progress.hear),
            (subjects.EVERY_WORKER, _hearer(workers)),
        ):
            stack.push_async_callback((await broker.subscribe(subject, handler)).close)

        servicer = GenerationServicer(
            Submissions(database), dispatch, listing, transitions, reader, watch, queues, eraser, metrics
        )
        server = RpcServer(settings.listen, metrics=rpc_metrics, tls=tls)
        server.add(generation_service_pb2_grpc.add_GenerationServiceServicer_to_server, servicer, _SERVICE_NAME)
        batch_servicer = BatchServicer(batches, reader, transitions, queues, feeder, metrics)
        server.add(batch_service_pb2_grpc.add_BatchServiceServicer_to_server, batch_servicer, _BATCH_SERVICE_NAME)
        shelf = UploadShelf(Uploads(database), blobs, settings.retention_days)
        upload_servicer = UploadServicer(shelf)
        server.add(upload_service_pb2_grpc.add_UploadServiceServicer_to_server, upload_servicer, _UPLOAD_SERVICE_NAME)
        port = await server.start()

        # NATS may be away: runs are accepted, and start when it is back; the store is for retention and uploads.
        readiness = Readiness(
            {"postgres": listing.check_schema, "nats": broker.check, "blobs": blobs.ping}, optional=("nats", "blobs")
        )
        outcomes = Outcomes(transitions)
        works = process.background(
            lambda: watch_readiness(server, readiness, probes),
            lambda: outcomes.run(broker),
            lambda: feeder.run(transitions),
            Sweeper(dispatch, listing, transitions, queues, metrics).run,
            Retention(Expiry(database), blobs, settings.retention_days).run,
            shelf.run,
            Relay(dispatch, broker, metrics).run,
            announcer.run,
            eraser.run,
            progress.run,
            watch.run,
        )
        await stack.enter_async_context(works)
        stack.push_async_callback(server.drain)
        yield port


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        first()
        second()

    return call


def _hearer(workers: Workers) -> Callable[[str, bytes], Awaitable[None]]:
    async def hear(_subject: str, body: bytes) -> None:
        with contextlib.suppress(DecodeError):
            workers.hear(event_pb2.WorkerBeat.FromString(body), time.monotonic())

    return hear
