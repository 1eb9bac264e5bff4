"""Wires the worker: constructs every adapter, starts every task, and ends them in order."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable
from typing import Final

from imagineo import process
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.blobs.port import Blobs
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.broker.port import Broker
from imagineo.errors import ImagineoError, Unavailable
from imagineo.rpc.channel import connect
from imagineo.rpc.client import check_health
from imagineo.rpc.server import RpcServer, watch_readiness
from imagineo.settings import SettingsError
from imagineo.telemetry import metrics as telemetry
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness
from imagineo.v1 import catalog_service_pb2_grpc, event_pb2, generation_service_pb2_grpc, model_pb2

from services.worker import metrics
from services.worker.adapter_cache import AdapterCache
from services.worker.affinity import Affinity
from services.worker.base_models import BaseModels
from services.worker.beat import beat
from services.worker.drain import drain
from services.worker.drawing import Drawing
from services.worker.engine import compiling, memory
from services.worker.engine.base import Engine
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.device_memory import read_device_memory
from services.worker.engine.failures import BaseModelBroken, DeviceBroken
from services.worker.intake import Intake
from services.worker.lease import LeaseKeeper
from services.worker.lifecycle import Lifecycle
from services.worker.provenance import Maker
from services.worker.settings import Settings
from services.worker.warm_models import WarmModels
from services.worker.watchdog import watch

log = logging.getLogger(__name__)

#: How long between two looks at the catalog: while nothing can be drawn, and after that.
_EMPTY_LOOK_S: Final = 1.0
_LOOK_S: Final = 30.0
#: The exit status of a worker whose device hung, and of one whose device broke.
_HUNG: Final = 70
_BROKEN: Final = 71


class Worker:
    """The worker's parts, wired; `work` runs it."""

    def __init__(
        self,
        settings: Settings,
        *,
        broker: Broker,
        blobs: Blobs,
        engine: Engine,
        status_stub: object,
        catalog_stub: object,
        has_begun: Callable[[], None] = lambda: None,
        has_opened: Callable[[], None] = lambda: None,
    ) -> None:
        """`has_opened` is called once the first base model is open, before there is any run."""
        self._settings = settings
        self._broker = broker
        self._engine = engine
        self._has_begun = has_begun
        self._has_opened = has_opened
        self._refused: set[str] = set()
        incarnation = uuid.uuid4().hex
        self.leases = LeaseKeeper(status_stub, settings.worker_id, incarnation)
        self.adapters = AdapterCache(blobs, settings.cache_path / "adapters", settings.adapter_cache_bytes)
        self.bases = BaseModels(catalog_stub, blobs, settings.cache_path / "bases", settings.base_models)
        models = WarmModels()
        self.affinity = Affinity(
            broker,
            settings.worker_id,
            warm_model_ids=lambda: models.among(engine.warm_sha256s),
            running_count=lambda: len(self.leases.run_ids),
        )
        self.lifecycle = Lifecycle(
            broker=broker,
            blobs=blobs,
            leases=self.leases,
            drawing=Drawing(blobs, self.adapters, engine),
            affinity=self.affinity,
            models=models,
            maker=lambda job: Maker(
                self.bases.digest_of(job.base_model_slug), engine.device_name, engine.dtype_name, _versions()
            ),
            worker_id=settings.worker_id,
        )
        self.intake = Intake(broker, self.lifecycle, slots=engine.slots)

    async def work(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Draw until `stop`, then drain."""
        hints = [
            await self._broker.subscribe(subjects.EVERY_CANCEL, self.leases.on_cancel),
            await self._broker.subscribe(subjects.EVERY_PREVIEW_ASK, self.lifecycle.previews.on_ask),
            await self._broker.subscribe(subjects.EVERY_WORKER, self.affinity.on_beat),
            await self._broker.subscribe(subjects.EVERY_NUDGE, self.affinity.on_nudge),
            await self._broker.subscribe(subjects.nudge(self._settings.worker_id), self.intake.on_nudge),
        ]

        async def beating() -> None:
            await beat(self._broker, self._settings.worker_id, self.describe)

        async with process.background(self.leases.keep, beating):
            async with process.background(self.intake.pull, self._open_base_models):
                await stop.wait()
            await drain(self.intake, self.leases, grace_s=self._settings.drain_s, hurry=hurry)
        # The last word: it has nothing in hand, and its silence is no loss.
        await self._broker.emit(subjects.worker(self._settings.worker_id), self.describe().SerializeToString())
        for subscription in hints:
            await subscription.close()

    def describe(self) -> event_pb2.WorkerBeat:
        """The worker as it stands, for its beat; updates the gauges too."""
        metrics.CACHE_BYTES.set(self.adapters.size_bytes)
        metrics.CACHE_HITS.set(self.adapters.hits)
        metrics.CACHE_MISSES.set(self.adapters.misses)
        metrics.SPEED.set(self.lifecycle.speed.total)
        adapters = self._engine.adapter_figures
        metrics.ADAPTER_DEVICE_BYTES.set(adapters.device_bytes)
        metrics.ADAPTER_DEVICE_LIMIT_BYTES.set(adapters.device_limit_bytes)
        metrics.ADAPTER_HOST_BYTES.set(adapters.host_bytes)
        for place, count in adapters.found.items():
            metrics.ADAPTERS_FOUND.labels(place).set(count)
        device = read_device_memory()
        for kind, number in (
            ("allocated", device.allocated_bytes),
            ("reserved", device.reserved_bytes),
            ("total", device.total_bytes),
        ):
            metrics.DEVICE_MEMORY_BYTES.labels(kind).set(number)
        warm_model_ids = self.lifecycle.models.among(self._engine.warm_sha256s)
        metrics.WARM_MODELS.set(len(warm_model_ids))
        return event_pb2.WorkerBeat(
            worker_id=self._settings.worker_id,
            base_model_slugs=self.intake.base_model_slugs,
            slots=self._engine.slots,
            running_run_ids=self.leases.run_ids,
            megapixel_steps_per_s=self.lifecycle.speed.total,
            run_megapixel_steps_per_s=self.lifecycle.speed.each,
            warm_model_ids=warm_model_ids,
        )

    async def check_base_models(self) -> None:
        """Raise while there is no base model to draw with."""
        if not self.intake.base_model_slugs:
            raise Unavailable("no base model is loaded yet")

    async def check_device(self) -> None:
        """Raise once the device can draw no more."""
        if self._engine.is_broken:
            raise Unavailable("the device is broken")

    async def _open_base_models(self) -> None:
        """Fetch and open what the catalog knows, now and whenever there is more, until cancelled."""
        while True:
            listed = await self._listed()
            for base in listed or []:
                if base.slug not in self.intake.base_model_slugs and base.slug not in self._refused:
                    await self._open_base_model(base)
            if self.intake.base_model_slugs or listed is not None:
                self._has_begun()
            await asyncio.sleep(_LOOK_S if self.intake.base_model_slugs else _EMPTY_LOOK_S)

    async def _listed(self) -> list[model_pb2.BaseModel] | None:
        try:
            return await self.bases.wanted()
        except ImagineoError as problem:
            log.warning("base models: %s", problem)
            return None

    async def _open_base_model(self, listed: model_pb2.BaseModel) -> None:
        """Open one; what is wrong with it concerns no other, and is tried again later where it may mend."""
        try:
            base = await self.bases.fetch(listed)
            await self._engine.open(base)
            if not self.intake.base_model_slugs:
                self._has_opened()
            self.intake.grow(self._engine.slots)
            await self.intake.add(base.slug)
            log.info("drawing with %s", base.slug)
        except DeviceBroken:
            log.error("base model %s was not loaded: the device is broken", listed.slug)  # noqa: TRY400 - it was told
        except BaseModelBroken as problem:
            if await self.bases.remove_if_damaged(listed.slug):
                log.warning("base model %s was damaged on disk; it is fetched anew", listed.slug)
                return
            self._refused.add(listed.slug)
            log.error("%s", problem)  # noqa: TRY400 - the sentence says it all
        except ImagineoError as problem:
            log.warning("base model %s: %s", listed.slug, problem)
        except OSError as problem:
            log.error("base model %s cannot be kept on disk: %s", listed.slug, problem)  # noqa: TRY400 - the same


def engine_of(settings: Settings) -> Engine:
    """The engine that draws here."""
    return BatchEngine(
        threads=settings.threads,
        device=settings.device,
        adapter_bytes=settings.adapter_memory_bytes,
        adapter_host_bytes=settings.adapter_host_memory_bytes,
        compile_options=compiling.MODES[settings.compile],
    )


async def serve(settings: Settings, stop: asyncio.Event, make_engine: Callable[[Settings], Engine] = engine_of) -> None:
    """Run the worker until `stop`, or until its device breaks, then drain it; a SIGTERM after that hurries.

    With a broken device it ends the process, by an exit status of its own.

    Raises:
        SettingsError: if steps are to be compiled and there is nothing to compile them with.
    """
    _check_compile(settings.compile)
    probes = Probes()
    metrics_port = telemetry.serve(settings.metrics_listen, probes)
    tls = settings.tls_identity()
    status, catalog = connect(settings.status_address, tls), connect(settings.catalog_address, tls)
    broker = await JetStreamBroker.connect(
        settings.nats_url, name=f"worker {settings.worker_id}", access=settings.nats_access, makes_streams=False
    )
    blobs = ObstoreBlobs.from_url(settings.blobs_url)
    engine = make_engine(settings)
    worker = Worker(
        settings,
        broker=broker,
        blobs=blobs,
        engine=engine,
        status_stub=generation_service_pb2_grpc.GenerationServiceStub(status),
        catalog_stub=catalog_service_pb2_grpc.CatalogServiceStub(catalog),
        has_begun=probes.begin,
        has_opened=memory.settle,
    )
    probes.watch("device", lambda: _device_problem(engine, settings.hang_s))
    readiness = Readiness(
        {
            "nats": broker.check,
            "status": lambda: check_health(status),
            "catalog": lambda: check_health(catalog),
            "blobs": blobs.ping,
            "base models": worker.check_base_models,
            "device": worker.check_device,
        }
    )
    server = RpcServer(settings.listen, tls=tls)
    port = await server.start()
    process.write_ports(settings.ports_file, listen=port, metrics=metrics_port)
    hurry = asyncio.Event()
    try:
        async with process.background(
            lambda: telemetry.watch_loop_lag("worker", probes),
            lambda: watch_readiness(server, readiness, probes),
            lambda: watch(engine, settings.hang_s, on_hang=lambda: _end_at_once(_HUNG), on_broken=stop.set),
        ):
            hurrying = asyncio.create_task(_hurry(stop, hurry, probes))
            await worker.work(stop, hurry)
            hurrying.cancel()
    finally:
        await server.drain(0)
        await broker.close()
        await blobs.close()
        for channel in (status, catalog):
            await channel.close(None)
    if engine.is_broken:
        _end_at_once(_BROKEN)


def _check_compile(mode: str) -> None:
    """Refuse at once what would else fail at the first picture."""
    missing = compiling.missing_tools() if compiling.MODES[mode] is not None else ""
    if missing:
        raise SettingsError(
            f"IMAGINEO_WORKER_COMPILE={mode} needs {missing}: take the image worker-compile, or set it to off."
        )


def _device_problem(engine: Engine, hang_s: float) -> str:
    if engine.is_broken:
        return "the device is broken"
    busy_s = engine.busy_s
    return f"the device has been at one piece of work for {busy_s:.0f} s" if busy_s > hang_s else ""


def _end_at_once(status: int) -> None:
    """Nothing on the device can be waited for any more; leases that are left lapse."""
    sys.stderr.flush()
    os._exit(status)


@functools.cache
def _versions() -> dict[str, str]:
    """What draws, by name and version."""
    return {name: importlib.metadata.version(name) for name in ("imagineo", "torch", "diffusers", "transformers")}


async def _hurry(stop: asyncio.Event, hurry: asyncio.Event, probes: Probes) -> None:
    await stop.wait()
    probes.drain()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, hurry.set)
