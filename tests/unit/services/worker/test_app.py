"""When the worker leaves what lives for good out of collections: once, before there is any run."""

from __future__ import annotations

from pathlib import Path

import pytest
from imagineo.blobs.memory import MemoryBlobs
from imagineo.broker.memory import MemoryBroker
from imagineo.v1 import model_pb2

from services.worker.app import Worker
from services.worker.engine.base import BaseModelFiles
from services.worker.engine.batch_engine import BatchEngine
from services.worker.settings import Settings


class Bases:
    """Base models that are on disk."""

    async def fetch(self, listed):
        return BaseModelFiles(listed.slug, Path())


class Opened(BatchEngine):
    """An engine that opens whatever it is given."""

    async def open(self, base):
        pass


@pytest.fixture
async def engine():
    engine = Opened(threads=1)
    yield engine
    await engine.close()


async def test_what_lives_for_good_is_left_out_of_collections_with_the_first_base_model_alone(engine, tmp_path):
    addresses = dict.fromkeys(("nats_url", "status_address", "catalog_address", "blobs_url"), "")
    settings = Settings(**addresses, cache_dir=str(tmp_path), worker_id="w1")
    broker, told = MemoryBroker(), []
    worker = Worker(
        settings,
        broker=broker,
        blobs=MemoryBlobs(),
        engine=engine,
        status_stub=None,
        catalog_stub=None,
        has_opened=lambda: told.append(list(worker.intake.base_model_slugs)),
    )
    worker.bases = Bases()
    for slug in ("first", "second"):
        await worker._open_base_model(model_pb2.BaseModel(slug=slug))
    assert worker.intake.base_model_slugs == ["first", "second"]
    assert told == [[]]
    for listener in worker.intake._listeners:
        listener.cancel()
    await broker.close()
