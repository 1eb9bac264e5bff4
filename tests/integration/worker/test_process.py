"""The worker as a process of its own, on the real broker and a folder as store: killed, asked to end, started again."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import warnings
from contextlib import asynccontextmanager

import pytest
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.rpc.channel import connect
from imagineo.rpc.client import check_health
from imagineo.v1 import catalog_service_pb2_grpc, event_pb2, generation_pb2, generation_service_pb2_grpc
from PIL import Image

from tests.support.servers import nats_server
from tests.support.tiny_models import tiny_base
from tests.support.worker_peers import ScriptedCatalog, ScriptedStatus, job_of, served_at, stored_base

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WAIT_S = 150
LONG = 500


class Stage:
    """The worker's surroundings, and the worker's process."""

    def __init__(self, broker, blobs, environment, ports_file):
        self.broker = broker
        self.blobs = blobs
        self.environment = environment
        self.ports_file = ports_file
        self.outcomes = asyncio.Queue()
        self.progress = asyncio.Queue()
        self.process = None

    async def start(self, worker_id="worker", program=("services.worker",), **settings):
        self.ports_file.unlink(missing_ok=True)
        environment = self.environment | {"IMAGINEO_WORKER_WORKER_ID": worker_id} | settings
        self.process = await asyncio.create_subprocess_exec(sys.executable, "-m", *program, env=environment)

    async def submit(self, job):
        subject = subjects.job(job.base_model_slug, job.lane)
        await self.broker.publish_job(subject, job.SerializeToString(), message_id=job.run_id)

    async def outcome(self):
        return await asyncio.wait_for(self.outcomes.get(), WAIT_S)

    async def stepped(self, run_id):
        async with asyncio.timeout(WAIT_S):
            while (await self.progress.get()).run_id != run_id:
                pass

    async def pixels(self, outcome):
        with Image.open(io.BytesIO(await self.blobs.get(outcome.image.store_key))) as image:
            return image.convert("RGB").tobytes()

    async def ended(self):
        return await asyncio.wait_for(self.process.wait(), WAIT_S)

    async def on_outcomes(self, deliveries):
        for delivery in deliveries:
            await delivery.ack()
            await self.outcomes.put(event_pb2.Outcome.FromString(delivery.body))

    async def on_progress(self, subject, body):
        await self.progress.put(event_pb2.Progress.FromString(body))


@pytest.fixture
def nats():
    """A broker of its own: jobs that other tests left in the shared one would be drawn here."""
    with nats_server() as server:
        yield server


@asynccontextmanager
async def staged(nats, tmp_path):
    with warnings.catch_warnings(action="ignore"):
        directory = tiny_base(tmp_path / "tiny")
    blobs = ObstoreBlobs.from_url(f"file://{tmp_path}/store")
    broker = await JetStreamBroker.connect(nats.url, name="test")
    await broker.ensure_queue("tiny")
    grpcs = generation_service_pb2_grpc, catalog_service_pb2_grpc
    registers = grpcs[0].add_GenerationServiceServicer_to_server, grpcs[1].add_CatalogServiceServicer_to_server
    peers = ScriptedStatus(), ScriptedCatalog(await stored_base(blobs, directory))
    async with (
        served_at(peers[0], registers[0], "imagineo.v1.GenerationService") as status_port,
        served_at(peers[1], registers[1], "imagineo.v1.CatalogService") as catalog_port,
    ):
        environment = os.environ | {
            "PYTHONPATH": "libs:.",
            "OMP_NUM_THREADS": "1",
            "IMAGINEO_NATS_URL": nats.url,
            "IMAGINEO_WORKER_STATUS_ADDRESS": f"127.0.0.1:{status_port}",
            "IMAGINEO_WORKER_CATALOG_ADDRESS": f"127.0.0.1:{catalog_port}",
            "IMAGINEO_BLOBS_URL": f"file://{tmp_path}/store",
            "IMAGINEO_WORKER_CACHE_DIR": str(tmp_path / "cache"),
            "IMAGINEO_WORKER_PORTS_FILE": str(tmp_path / "ports.json"),
            "IMAGINEO_WORKER_DRAIN_S": "0",
        }
        stage = Stage(broker, blobs, environment, tmp_path / "ports.json")
        await broker.subscribe(subjects.EVERY_PROGRESS, stage.on_progress)
        consuming = asyncio.create_task(broker.consume("OUTCOMES", "status", stage.on_outcomes))
        try:
            yield stage
        finally:
            if stage.process is not None and stage.process.returncode is None:
                stage.process.kill()
                await stage.process.wait()
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
            await broker.close()
            await blobs.close()


async def test_a_killed_workers_run_is_drawn_by_its_next_life_and_sigterm_hands_back(nats, tmp_path):
    async with staged(nats, tmp_path) as stage:
        await stage.start()
        await stage.submit(job_of("gen_1"))
        assert (await stage.outcome()).status == generation_pb2.STATUS_COMPLETED

        await stage.submit(job_of("gen_2", steps=LONG))
        await stage.stepped("gen_2")
        stage.process.kill()
        await stage.ended()
        await stage.start()
        again = await stage.outcome()
        assert (again.run_id, again.attempt, again.status) == ("gen_2", 2, generation_pb2.STATUS_COMPLETED)
        assert again.image.store_key == "images/org_1/gen_2/2.png"

        ports = json.loads(stage.ports_file.read_text())
        channel = connect(f"127.0.0.1:{ports['listen']}")
        await check_health(channel)
        await channel.close(None)

        await stage.submit(job_of("gen_3", steps=LONG))
        await stage.stepped("gen_3")
        stage.process.send_signal(signal.SIGTERM)
        handed_back = await stage.outcome()
        assert (handed_back.run_id, handed_back.status) == ("gen_3", generation_pb2.STATUS_QUEUED)
        assert await stage.ended() == 0
        assert stage.outcomes.empty()


async def test_a_worker_whose_device_breaks_or_hangs_ends_and_another_draws_its_run_the_same(nats, tmp_path):
    async with staged(nats, tmp_path) as stage:
        for fault, status, number in (("breaks", 71, 1), ("hangs", 70, 2)):
            await stage.start(
                "faulty", ("tests.support.faulty_worker", fault), IMAGINEO_WORKER_HANG_S="10", PYTHONPATH="libs:."
            )
            await stage.submit(job_of(f"gen_{number}", steps=20))
            assert await stage.ended() == status
            assert stage.outcomes.empty()  # nothing is said of the run: it is neither failed nor lost
            await stage.start("sound")
            again = await stage.outcome()
            assert (again.run_id, again.attempt, again.worker_id) == (f"gen_{number}", 2, "sound")
            assert again.status == generation_pb2.STATUS_COMPLETED
            if number == 1:
                await stage.submit(job_of("gen_0", steps=20))
                undisturbed = await stage.pixels(await stage.outcome())
            assert await stage.pixels(again) == undisturbed
            stage.process.kill()
            await stage.ended()
