"""The worker whole, but for its process: the real engine on the tiny model, twins in memory, a status over gRPC."""

from __future__ import annotations

import asyncio
import hashlib
import io
import warnings
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import torch
from diffusers import FluxImg2ImgPipeline, StableDiffusion3Img2ImgPipeline
from imagineo.blobs.memory import MemoryBlobs
from imagineo.broker import subjects
from imagineo.broker.memory import MemoryBroker
from imagineo.v1 import (
    catalog_service_pb2_grpc,
    event_pb2,
    generation_pb2,
    generation_service_pb2_grpc,
    job_pb2,
    model_pb2,
)
from imagineo.v1 import generation_service_pb2 as generations
from PIL import Image, ImageChops

from services.worker import outcome as outcomes
from services.worker.app import Worker
from services.worker.engine.batch_engine import BatchEngine
from services.worker.settings import Settings
from tests.support.tiny_families import tiny_family
from tests.support.tiny_models import lora_file, tiny_base
from tests.support.worker_peers import ScriptedCatalog, ScriptedStatus, job_of, served, stored_adapter, stored_base

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LONG = 900
WAIT_S = 60


class NotingBlobs(MemoryBlobs):
    def __init__(self):
        super().__init__()
        self.image_stored = asyncio.Event()

    async def put(self, key, data, *, content_type):
        await super().put(key, data, content_type=content_type)
        if key.startswith("images/"):
            self.image_stored.set()


class Platform:
    """What a test holds in its hands."""

    def __init__(self, worker, broker, blobs, status):
        self.worker = worker
        self.broker = broker
        self.blobs = blobs
        self.status = status
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.outcomes = asyncio.Queue()
        self.progress = asyncio.Queue()

    async def submit(self, job):
        subject = subjects.job(job.base_model_slug, job.lane)
        await self.broker.publish_job(subject, job.SerializeToString(), message_id=job.run_id)

    async def outcome(self):
        return await asyncio.wait_for(self.outcomes.get(), WAIT_S)

    async def started(self):
        return await asyncio.wait_for(self.progress.get(), WAIT_S)

    async def on_outcomes(self, deliveries):
        for delivery in deliveries:
            await delivery.ack()
            await self.outcomes.put(event_pb2.Outcome.FromString(delivery.body))

    async def on_progress(self, subject, body):
        await self.progress.put(event_pb2.Progress.FromString(body))

    async def image(self, outcome):
        content = await self.blobs.get(outcome.image.store_key)
        assert hashlib.sha256(content).hexdigest() == outcome.image.sha256
        return Image.open(io.BytesIO(content))

    async def queue_is_empty(self):
        return sum((await self.broker.queue_depth("tiny")).values()) == 0


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with warnings.catch_warnings(action="ignore"):
        return tiny_base(tmp_path_factory.mktemp("tiny"))


@asynccontextmanager
async def running(directory, cache_dir, *, drain_s=0.0, ack_wait_s=8.0, other_bases=(), before=None, family="sd"):
    """A worker at work; `before` is the stage of an earlier one, whose store and status it finds."""
    broker = MemoryBroker(ack_wait_s=ack_wait_s)
    blobs = before.blobs if before else NotingBlobs()
    status = before.status if before else ScriptedStatus()
    settings = Settings(
        nats_url="",
        status_address="",
        catalog_address="",
        blobs_url="",
        cache_dir=str(cache_dir),
        worker_id="w1",
        drain_s=drain_s,
    )
    engine = BatchEngine(threads=1)
    scripted_catalog = ScriptedCatalog(*other_bases, await stored_base(blobs, directory, family=family))
    async with (
        served(
            status,
            generation_service_pb2_grpc.add_GenerationServiceServicer_to_server,
            "imagineo.v1.GenerationService",
        ) as status_channel,
        served(
            scripted_catalog,
            catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server,
            "imagineo.v1.CatalogService",
        ) as catalog_channel,
    ):
        worker = Worker(
            settings,
            broker=broker,
            blobs=blobs,
            engine=engine,
            status_stub=generation_service_pb2_grpc.GenerationServiceStub(status_channel),
            catalog_stub=catalog_service_pb2_grpc.CatalogServiceStub(catalog_channel),
        )
        platform = Platform(worker, broker, blobs, status)
        await broker.ensure_queue("tiny")
        await broker.subscribe(subjects.EVERY_PROGRESS, platform.on_progress)
        consuming = asyncio.create_task(broker.consume("OUTCOMES", "status", platform.on_outcomes))
        working = asyncio.create_task(worker.work(platform.stop, platform.hurry))
        try:
            yield platform
        finally:
            platform.stop.set()
            platform.hurry.set()
            await asyncio.wait_for(working, WAIT_S)
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
            await engine.close()
            await broker.close()


@pytest.fixture
async def platform(directory, tmp_path):
    async with running(directory, tmp_path) as platform:
        yield platform


async def test_a_run_is_drawn_stored_told_and_acked(platform, tmp_path):
    adapter = await stored_adapter(platform.blobs, lora_file(tmp_path / "l.safetensors"))
    await platform.submit(job_of("gen_1", adapter, width=128, height=64))
    outcome = await platform.outcome()
    assert (outcome.run_id, outcome.attempt, outcome.worker_id) == ("gen_1", 1, "w1")
    assert outcome.status == generation_pb2.STATUS_COMPLETED
    assert outcome.image.store_key == "images/org_1/gen_1/1.png"
    assert (await platform.image(outcome)).size == (128, 64)
    assert [(one.model_id, one.matched_keys, one.ignored_keys) for one in outcome.lora_reports] == [("model_1", 8, 0)]
    assert outcome.draw_ms > 0
    assert (await platform.started()).steps == 3
    assert await drained(platform)
    assert platform.worker.describe().megapixel_steps_per_s > 0
    assert list(platform.worker.describe().warm_model_ids) == ["model_1"]


async def drained(platform):
    """Whether the queue empties: the ack follows the outcome."""
    async with asyncio.timeout(WAIT_S):
        await platform.worker.intake.wait_idle(WAIT_S)
        return await platform.queue_is_empty()


@pytest.mark.parametrize(
    ("output_format", "name", "extension"),
    [
        (generation_pb2.OUTPUT_FORMAT_PNG, "PNG", "png"),
        (generation_pb2.OUTPUT_FORMAT_WEBP, "WEBP", "webp"),
        (generation_pb2.OUTPUT_FORMAT_JPEG, "JPEG", "jpeg"),
    ],
)
async def test_the_image_is_of_the_type_asked(platform, output_format, name, extension):
    await platform.submit(job_of("gen_1", output_format=output_format))
    outcome = await platform.outcome()
    assert outcome.image.output_format == output_format
    assert outcome.image.store_key.endswith(f".{extension}")
    assert (await platform.image(outcome)).format == name


async def test_weight_0_needs_no_file_and_gives_the_base_models_picture(platform):
    # One after the other: a row's last bits follow from how many rows are computed with it.
    await platform.submit(job_of("gen_1"))
    first = await platform.outcome()
    gone = job_pb2.Adapter(
        model_id="model_gone", weight=0, file=model_pb2.StoredFile(store_key="loras/x", sha256="0" * 64)
    )
    await platform.submit(job_of("gen_2", gone))
    second = await platform.outcome()
    assert second.status == generation_pb2.STATUS_COMPLETED
    assert first.image.sha256 == second.image.sha256


async def test_a_cancel_hint_stops_a_run_at_its_next_step(platform):
    await platform.submit(job_of("gen_1", steps=LONG))
    await platform.started()
    await platform.broker.emit(subjects.cancel("gen_1"), event_pb2.CancelRun(run_id="gen_1").SerializeToString())
    outcome = await platform.outcome()
    assert outcome.status == generation_pb2.STATUS_CANCELED
    assert not outcome.HasField("image")
    assert await drained(platform)
    assert await platform.blobs.list("images") == []


@pytest.mark.parametrize("verdict", [generations.LEASE_VERDICT_CANCEL, generations.LEASE_VERDICT_LOST])
async def test_a_renewal_brings_word_of_a_cancel_or_a_loss(platform, verdict):
    await platform.submit(job_of("gen_1", steps=LONG))
    await platform.started()
    platform.worker.leases._interval_s = 0.05
    platform.status.lease_verdicts["gen_1"] = verdict
    await asyncio.wait_for(platform.status.renewed.wait(), WAIT_S)
    await platform.worker.leases._renew()
    await platform.worker.intake.wait_idle(WAIT_S)
    if verdict == generations.LEASE_VERDICT_CANCEL:
        assert (await platform.outcome()).status == generation_pb2.STATUS_CANCELED
        assert await platform.queue_is_empty()
    else:
        assert platform.outcomes.empty()
        assert not await platform.queue_is_empty()


@pytest.fixture
def impatient(monkeypatch):
    """What was away is tried again soon."""
    for name in ("AWAY", "CLAIM_UNANSWERED"):
        monkeypatch.setattr(outcomes, name, replace(getattr(outcomes, name), delay_s=0.5))


@pytest.mark.usefixtures("impatient")
async def test_a_store_that_is_away_hands_the_run_back(platform, tmp_path):
    await platform.submit(job_of("gen_0"))
    await platform.outcome()
    adapter = await stored_adapter(platform.blobs, lora_file(tmp_path / "l.safetensors"))
    platform.blobs.away = True
    await platform.submit(job_of("gen_1", adapter))
    outcome = await platform.outcome()
    assert outcome.status == generation_pb2.STATUS_QUEUED
    platform.blobs.away = False
    again = await platform.outcome()
    assert (again.attempt, again.status) == (2, generation_pb2.STATUS_COMPLETED)


async def test_a_lora_is_read_into_memory_while_its_run_is_still_to_be_claimed(platform, tmp_path):
    await platform.submit(job_of("gen_0"))
    await platform.outcome()
    adapter = await stored_adapter(platform.blobs, lora_file(tmp_path / "l.safetensors"))
    memory = platform.worker._engine._adapter_memory
    read, claim = asyncio.Event(), platform.worker.leases.claim
    inner = memory.read_ahead

    async def read_ahead(*arguments):
        await inner(*arguments)
        read.set()

    async def claim_once_it_is_read(run_id):
        await asyncio.wait_for(read.wait(), WAIT_S)
        return await claim(run_id)

    memory.read_ahead, platform.worker.leases.claim = read_ahead, claim_once_it_is_read
    await platform.submit(job_of("gen_1", adapter))
    assert (await platform.outcome()).status == generation_pb2.STATUS_COMPLETED
    assert memory.figures.found == {"device": 0, "host": 1, "reading": 0, "disk": 0}
    assert memory.figures.host_bytes == 0


async def test_a_run_that_is_cancelled_while_its_lora_is_fetched_ends_at_once_and_so_does_the_fetch(platform, tmp_path):
    await platform.submit(job_of("gen_0"))
    await platform.outcome()
    adapter = await stored_adapter(platform.blobs, lora_file(tmp_path / "l.safetensors"))
    fetching, given_up = asyncio.Event(), asyncio.Event()

    async def fetch_file(key, path):
        fetching.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    platform.blobs.fetch_file = fetch_file
    await platform.submit(job_of("gen_1", adapter))
    await asyncio.wait_for(fetching.wait(), WAIT_S)
    platform.worker.leases._interval_s = 0.05
    platform.status.lease_verdicts["gen_1"] = generations.LEASE_VERDICT_CANCEL
    assert (await platform.outcome()).status == generation_pb2.STATUS_CANCELED
    await asyncio.wait_for(given_up.wait(), WAIT_S)
    assert platform.worker._engine.warm_sha256s == frozenset()
    assert platform.worker.adapters.size_bytes == 0


async def test_a_hundred_runs_cancelled_together_are_each_told_and_leave_nothing(platform, tmp_path):
    adapter = await stored_adapter(platform.blobs, lora_file(tmp_path / "l.safetensors"))
    await platform.submit(job_of("gen_1", adapter, steps=200, lane=job_pb2.LANE_PREMIUM))
    await platform.started()
    for number in range(100):
        await platform.submit(job_of(f"bad_{number}", adapter, steps=LONG))
    for number in range(100):
        name = f"bad_{number}"
        await platform.broker.emit(subjects.cancel(name), event_pb2.CancelRun(run_id=name).SerializeToString())
        platform.status.lease_verdicts[name] = generations.LEASE_VERDICT_CANCEL
    platform.worker.leases._interval_s = 0.05
    endings = {}
    while len(endings) < 101:
        outcome = await platform.outcome()
        endings[outcome.run_id] = outcome.status
    assert endings.pop("gen_1") == generation_pb2.STATUS_COMPLETED
    assert set(endings.values()) == {generation_pb2.STATUS_CANCELED}
    assert await drained(platform)
    assert platform.worker._engine._adapter_memory.held_keys == frozenset()


@pytest.mark.parametrize(("content", "code"), [(b"not a LoRA", "lora_incompatible"), (None, "adapter_missing")])
async def test_a_bad_or_missing_lora_fails_the_run_and_spares_the_next(platform, tmp_path, content, code):
    path = lora_file(tmp_path / "l.safetensors")
    if content is not None:
        path.write_bytes(content)
    adapter = await stored_adapter(platform.blobs, path)
    if content is None:
        await platform.blobs.delete(adapter.file.store_key)
    await platform.submit(job_of("gen_1", adapter))
    outcome = await platform.outcome()
    assert (outcome.status, outcome.error.code) == (generation_pb2.STATUS_FAILED, code)
    await platform.submit(job_of("gen_2"))
    assert (await platform.outcome()).status == generation_pb2.STATUS_COMPLETED
    assert await drained(platform)


async def test_a_lora_damaged_in_the_store_fails_the_run(platform, tmp_path):
    adapter = await stored_adapter(platform.blobs, lora_file(tmp_path / "l.safetensors"))
    await platform.blobs.put(adapter.file.store_key, b"x", content_type="application/octet-stream")
    await platform.submit(job_of("gen_1", adapter))
    assert (await platform.outcome()).error.code == "lora_incompatible"


@pytest.mark.parametrize("verdict", [generations.CLAIM_VERDICT_OVER, generations.CLAIM_VERDICT_UNKNOWN])
async def test_a_run_that_is_over_is_acked_without_a_word(platform, verdict):
    platform.status.verdicts["gen_1"] = verdict
    await platform.submit(job_of("gen_1"))
    await platform.submit(job_of("gen_2"))
    assert (await platform.outcome()).run_id == "gen_2"
    assert await drained(platform)


@pytest.mark.usefixtures("impatient")
async def test_a_status_that_is_away_leaves_the_job_in_the_queue(platform):
    platform.status.is_away = True
    await platform.submit(job_of("gen_1"))
    await asyncio.wait_for(platform.status.refused.wait(), WAIT_S)
    platform.status.is_away = False
    assert (await platform.outcome()).status == generation_pb2.STATUS_COMPLETED


async def test_a_base_model_that_is_damaged_or_not_there_keeps_no_other_from_being_drawn_with(directory, tmp_path):
    away = model_pb2.BaseModel(base_model_id="base_2", slug="away", family="sd")
    away.files.add(store_key="bases/none", sha256="0" * 64, path="model_index.json")
    outside = model_pb2.BaseModel(base_model_id="base_3", slug="outside", family="sd")
    outside.files.add(store_key="bases/none", sha256="0" * 64, path="../model_index.json")
    async with running(directory, tmp_path, other_bases=[away, outside]) as platform:
        await platform.submit(job_of("gen_1"))
        assert (await platform.outcome()).status == generation_pb2.STATUS_COMPLETED
        assert platform.worker.intake.base_model_slugs == ["tiny"]


async def test_what_a_crash_left_of_a_base_model_is_removed_at_the_start(directory, tmp_path):
    draft = tmp_path / "bases" / ".tiny-0123456789abcdef.4242" / "unet"
    draft.mkdir(parents=True)
    (draft / "half.safetensors").write_bytes(b"x")
    async with running(directory, tmp_path) as platform:
        await platform.submit(job_of("gen_1"))
        assert (await platform.outcome()).status == generation_pb2.STATUS_COMPLETED
    assert [path.name.startswith("tiny-") for path in (tmp_path / "bases").iterdir()] == [True]


async def test_a_base_model_that_was_damaged_on_disk_is_fetched_anew(directory, tmp_path):
    async with running(directory, tmp_path) as first:
        await first.submit(job_of("gen_1"))
        whole = await first.image(await first.outcome())
    for weights in tmp_path.glob("bases/tiny-*/unet/*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-100])
    async with running(directory, tmp_path) as second:
        await second.submit(job_of("gen_1"))
        assert farthest(await second.image(await second.outcome()), whole) == 0


async def test_a_job_that_comes_again_while_its_run_is_in_hand_is_neither_claimed_nor_drawn_twice(platform):
    job = job_of("gen_1", steps=LONG)
    await platform.submit(job)
    await platform.started()
    subject = subjects.job("tiny", job.lane)
    await platform.broker.publish_job(subject, job.SerializeToString(), message_id="gen_1.2")
    again = await platform.broker.next_job(subjects.queue("tiny", job.lane))
    ending = await asyncio.wait_for(platform.worker.lifecycle.run(again, on_drawn=lambda: None), WAIT_S)
    assert ending.name == "in_hand"
    assert platform.worker.leases.run_ids == ["gen_1"]
    assert len(platform.status.claims) == 1

    await platform.broker.emit(subjects.cancel("gen_1"), event_pb2.CancelRun(run_id="gen_1").SerializeToString())
    assert (await platform.outcome()).attempt == 1
    assert not await platform.queue_is_empty()  # the second copy comes again, to be told then that the run is over


async def test_what_is_not_a_job_is_given_up(platform):
    await platform.broker.publish_job(subjects.job("tiny", job_pb2.LANE_FREE), b"\xff\xff", message_id="bad")
    await platform.submit(job_of("gen_1"))
    assert (await platform.outcome()).run_id == "gen_1"
    assert await drained(platform)


async def test_an_outcome_waits_for_a_broker_that_is_away(platform):
    await platform.submit(job_of("gen_1", steps=80))
    await platform.started()
    platform.broker.disconnect()
    await asyncio.wait_for(platform.blobs.image_stored.wait(), WAIT_S)
    assert platform.outcomes.empty()
    platform.broker.reconnect()
    assert (await platform.outcome()).status == generation_pb2.STATUS_COMPLETED


async def test_a_drained_worker_hands_its_run_back_and_pulls_no_more(directory, tmp_path):
    async with running(directory, tmp_path) as platform:
        await platform.submit(job_of("gen_1", steps=LONG))
        await platform.started()
        platform.stop.set()
        outcome = await platform.outcome()
        assert outcome.status == generation_pb2.STATUS_QUEUED
        await platform.submit(job_of("gen_2"))
        assert not await platform.queue_is_empty()
    assert [claim.run_id for claim in platform.status.claims] == ["gen_1"]


async def test_a_draining_worker_finishes_what_it_can_in_time(directory, tmp_path):
    async with running(directory, tmp_path, drain_s=WAIT_S) as platform:
        await platform.submit(job_of("gen_1", steps=100))
        await platform.started()
        platform.stop.set()
        assert (await platform.outcome()).status == generation_pb2.STATUS_COMPLETED


async def test_a_hurried_worker_waits_for_nothing(directory, tmp_path):
    async with running(directory, tmp_path, drain_s=600) as platform:
        await platform.submit(job_of("gen_1", steps=LONG))
        await platform.started()
        platform.stop.set()
        platform.hurry.set()
        assert (await platform.outcome()).status == generation_pb2.STATUS_QUEUED


def farthest(one, other):
    return max(high for _, high in ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema())


@pytest.mark.parametrize("scheduler", ["ddim", "euler_ancestral", "dpmpp_2m"])
async def test_a_run_that_was_handed_back_goes_on_elsewhere_with_the_same_picture(directory, tmp_path, scheduler):
    async with running(directory, tmp_path / "1") as first:
        await first.submit(job_of("gen_0", steps=80, scheduler=scheduler))
        whole = await first.image(await first.outcome())
        while not first.progress.empty():
            first.progress.get_nowait()
        await first.submit(job_of("gen_1", steps=80, scheduler=scheduler))
        await first.started()
        first.stop.set()
        assert (await first.outcome()).status == generation_pb2.STATUS_QUEUED
    assert await first.blobs.list("images/org_1/gen_1") == ["images/org_1/gen_1/state"]
    async with running(directory, tmp_path / "2", before=first) as second:
        await second.submit(job_of("gen_1", steps=80, scheduler=scheduler))
        outcome = await second.outcome()
        assert (outcome.attempt, outcome.status) == (2, generation_pb2.STATUS_COMPLETED)
        assert second.progress.get_nowait().step > 1
        assert farthest(await second.image(outcome), whole) <= 1
        assert await drained(second)
    assert await first.blobs.list("images/org_1/gen_1") == ["images/org_1/gen_1/2.png"]


async def test_what_was_left_of_a_run_and_cannot_be_read_costs_only_its_steps(platform):
    await platform.submit(job_of("gen_1"))
    whole = await platform.image(await platform.outcome())
    await platform.blobs.put("images/org_1/gen_1/state", b"broken", content_type="application/octet-stream")
    await drained(platform)
    await platform.broker.publish_job(
        subjects.job("tiny", job_pb2.LANE_FREE), job_of("gen_1").SerializeToString(), message_id="gen_1.again"
    )
    outcome = await platform.outcome()
    assert (outcome.attempt, outcome.status) == (2, generation_pb2.STATUS_COMPLETED)
    assert farthest(await platform.image(outcome), whole) == 0
    await drained(platform)
    assert "images/org_1/gen_1/state" not in await platform.blobs.list("images/org_1/gen_1")


async def stored_picture(platform, content=None):
    """Put a picture into the store; gives what a source says of it."""
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    content = content or buffer.getvalue()
    await platform.blobs.put("uploads/1.png", content, content_type="image/png")
    sha256 = hashlib.sha256(content).hexdigest()
    return image, generation_pb2.Image(store_key="uploads/1.png", width=64, height=64, sha256=sha256)


async def test_an_upscale_is_the_picture_enlarged(platform):
    image, stored = await stored_picture(platform)
    source = generation_pb2.Source(kind=generation_pb2.SOURCE_KIND_UPSCALE, scale=2, image=stored)
    await platform.submit(job_of("gen_1", source=source))
    outcome = await platform.outcome()
    assert outcome.status == generation_pb2.STATUS_COMPLETED
    large = await platform.image(outcome)
    assert large.size == (128, 128)
    assert farthest(large.resize((64, 64), Image.Resampling.BOX), image) < 128


async def test_a_variation_of_strength_0_is_the_picture_and_a_stronger_one_is_not(platform):
    image, stored = await stored_picture(platform)
    drawn = {}
    for run_id, strength in [("gen_1", 0.0), ("gen_2", 0.9)]:
        source = generation_pb2.Source(kind=generation_pb2.SOURCE_KIND_VARIATION, strength=strength, image=stored)
        await platform.submit(job_of(run_id, source=source, steps=4))
        drawn[run_id] = await platform.image(await platform.outcome())
    assert farthest(drawn["gen_1"], image) == 0
    assert farthest(drawn["gen_2"], image) > 0


@pytest.mark.parametrize("family", ["sd3", "flux"])
async def test_a_variation_on_a_transformer_is_the_stock_pipelines(tmp_path, family):
    with warnings.catch_warnings(action="ignore"):
        base = tiny_family(family, tmp_path / "base")
    async with running(base, tmp_path / "cache", family=family) as platform:
        image, stored = await stored_picture(platform)
        source = generation_pb2.Source(kind=generation_pb2.SOURCE_KIND_VARIATION, strength=0.7, image=stored)
        job = job_of("gen_1", source=source, steps=4, scheduler="flow_euler")
        await platform.submit(job)
        outcome = await platform.outcome()
        assert outcome.status == generation_pb2.STATUS_COMPLETED, outcome
        drawn = await platform.image(outcome)
    stock = StableDiffusion3Img2ImgPipeline if family == "sd3" else FluxImg2ImgPipeline
    with warnings.catch_warnings(action="ignore"):
        pipeline = stock.from_pretrained(base, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        expected = pipeline(
            job.parameters.positive_prompt,
            image=image,
            strength=0.7,
            height=64,
            width=64,
            guidance_scale=job.parameters.guidance,
            num_inference_steps=4,
            generator=torch.Generator("cpu").manual_seed(job.parameters.seed),
        ).images[0]
    assert farthest(drawn, expected) <= 1


@pytest.mark.parametrize("spoilt", ["no picture", "another", "gone"])
@pytest.mark.parametrize("kind", [generation_pb2.SOURCE_KIND_VARIATION, generation_pb2.SOURCE_KIND_UPSCALE])
async def test_a_source_that_is_gone_or_broken_fails_its_run_and_no_other(platform, kind, spoilt):
    _, stored = await stored_picture(platform, b"no picture" if spoilt == "no picture" else None)
    if spoilt == "gone":
        await platform.blobs.delete(stored.store_key)
    elif spoilt == "another":
        await platform.blobs.put(stored.store_key, b"another picture", content_type="image/png")
    source = generation_pb2.Source(kind=kind, strength=0.5, scale=2, image=stored)
    for job in (job_of("gen_1", source=source), job_of("gen_2")):
        await platform.submit(job)
    outcomes = {outcome.run_id: outcome for outcome in [await platform.outcome(), await platform.outcome()]}
    failed = outcomes["gen_1"]
    assert (failed.status, failed.error.code) == (generation_pb2.STATUS_FAILED, "source_missing")
    assert outcomes["gen_2"].status == generation_pb2.STATUS_COMPLETED


async def test_the_outcome_and_the_file_tell_how_the_picture_came_about(platform):
    job = job_of("gen_1")
    await platform.submit(job)
    outcome = await platform.outcome()
    assert outcome.provenance.base_model_slug == "tiny"
    assert len(outcome.provenance.base_model_sha256) == 64
    assert (outcome.provenance.device, outcome.provenance.dtype) == ("cpu", "float32")
    assert set(outcome.provenance.versions) == {"imagineo", "torch", "diffusers", "transformers"}
    image = await platform.image(outcome)
    assert outcome.provenance.pixels_sha256 == hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()
    assert "a red cat" in image.text["parameters"]
    job.run_id, job.omit_provenance = "gen_2", True
    await platform.submit(job)
    assert "parameters" not in (await platform.image(await platform.outcome())).info


async def test_a_picture_drawn_again_is_compared_with_the_first(platform):
    await platform.submit(job_of("gen_1"))
    first = await platform.outcome()
    again = job_of("gen_2")
    again.replay.run_id = "gen_1"
    again.replay.image.CopyFrom(first.image)
    again.replay.pixels_sha256 = first.provenance.pixels_sha256
    await platform.submit(again)
    assert (await platform.outcome()).replay.likeness == generation_pb2.LIKENESS_MATCH
    other = job_of("gen_3")
    other.replay.CopyFrom(again.replay)
    other.parameters.seed += 1
    await platform.submit(other)
    told = (await platform.outcome()).replay
    assert (told.run_id, told.likeness) == ("gen_1", generation_pb2.LIKENESS_DIFFERS)
    assert 0 < told.psnr_db < 40


async def test_a_job_is_left_once_to_a_warmer_worker_and_drawn_here_if_that_one_does_not_come(platform, tmp_path):
    nudges = asyncio.Queue()
    await platform.broker.subscribe(subjects.nudge("w9"), lambda subject, _: nudges.put(subject))
    beat = event_pb2.WorkerBeat(worker_id="w9", base_model_slugs=["tiny"], slots=4, warm_model_ids=["model_1"])
    await platform.submit(job_of("gen_0"))
    await platform.outcome()
    await platform.broker.emit(subjects.worker("w9"), beat.SerializeToString())
    adapter = await stored_adapter(platform.blobs, lora_file(tmp_path / "l.safetensors"))
    await platform.submit(job_of("gen_1", adapter))
    assert await asyncio.wait_for(nudges.get(), WAIT_S) == subjects.nudge("w9")
    outcome = await platform.outcome()
    assert (outcome.run_id, outcome.worker_id, outcome.attempt) == ("gen_1", "w1", 1)
    assert outcome.status == generation_pb2.STATUS_COMPLETED
