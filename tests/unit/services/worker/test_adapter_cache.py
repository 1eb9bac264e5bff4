from __future__ import annotations

import asyncio
import hashlib

import pytest
from imagineo.blobs.memory import MemoryBlobs
from imagineo.errors import Unavailable
from imagineo.v1 import model_pb2

from services.worker.adapter_cache import AdapterCache
from services.worker.engine.failures import AdapterIncompatible, AdapterMissing
from tests.support.deadlines import SURELY_S


class CountingBlobs(MemoryBlobs):
    def __init__(self):
        super().__init__()
        self.fetches = 0
        self.gate, self.fetching, self.given_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def fetch_file(self, key, path):
        self.fetches += 1
        self.fetching.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        await super().fetch_file(key, path)


@pytest.fixture
def blobs():
    return CountingBlobs()


async def put(blobs, content):
    sha256 = hashlib.sha256(content).hexdigest()
    await blobs.put(f"loras/{sha256}", content, content_type="application/octet-stream")
    return model_pb2.StoredFile(store_key=f"loras/{sha256}", sha256=sha256, size_bytes=len(content))


async def test_a_file_is_fetched_once_and_found_again(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 1000)
    file = await put(blobs, b"a" * 10)
    for _ in range(2):
        async with cache.hold([file]) as (path,):
            assert path.read_bytes() == b"a" * 10
    assert (blobs.fetches, cache.hits, cache.misses, cache.size_bytes) == (1, 1, 1, 10)


async def test_many_waiters_share_one_fetch_and_one_that_leaves_takes_nothing_away(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 1000)
    file = await put(blobs, b"a")
    blobs.gate.clear()

    async def use():
        async with cache.hold([file]) as (path,):
            return path.read_bytes()

    first, *others = [asyncio.create_task(use()) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    blobs.gate.set()
    assert await asyncio.gather(*others) == [b"a"] * 4
    assert blobs.fetches == 1


async def test_the_least_recently_used_goes_first_and_one_in_use_stays(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 25)
    a, b, c = [await put(blobs, letter * 10) for letter in (b"a", b"b", b"c")]
    async with cache.hold([a]) as (path,):
        async with cache.hold([b]):
            pass
        async with cache.hold([c]):
            pass
        assert path.exists()
    assert sorted(one.read_bytes()[:1] for one in tmp_path.iterdir()) == [b"a", b"c"]
    assert cache.size_bytes == 20


async def test_a_file_larger_than_the_cache_is_held_and_then_dropped(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 5)
    async with cache.hold([await put(blobs, b"a" * 10)]) as (path,):
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


async def test_a_missing_file_is_told(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 1000)
    gone = model_pb2.StoredFile(store_key="loras/gone", sha256="0" * 64)
    with pytest.raises(AdapterMissing):
        async with cache.hold([gone]):
            pass


async def test_bytes_of_another_digest_are_refused_and_not_kept(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 1000)
    file = await put(blobs, b"a")
    await blobs.put(file.store_key, b"b", content_type="application/octet-stream")
    with pytest.raises(AdapterIncompatible):
        async with cache.hold([file]):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_store_that_is_away_is_told_and_asked_again_later(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 1000)
    file = await put(blobs, b"a")
    blobs.away = True
    with pytest.raises(Unavailable):
        async with cache.hold([file]):
            pass
    blobs.away = False
    async with cache.hold([file]) as (path,):
        assert path.read_bytes() == b"a"


async def test_a_fetch_that_nobody_waits_for_any_more_is_given_up_and_leaves_nothing(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 1000)
    file = await put(blobs, b"a")
    blobs.gate.clear()

    async def use():
        async with cache.hold([file]) as (path,):
            return path.read_bytes()

    waiting = [asyncio.create_task(use()) for _ in range(3)]
    await asyncio.wait_for(blobs.fetching.wait(), SURELY_S)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await asyncio.wait_for(blobs.given_up.wait(), SURELY_S)
    blobs.gate.set()
    assert list(tmp_path.iterdir()) == []
    assert await use() == b"a"
    assert blobs.fetches == 2


async def test_a_file_that_somebody_took_away_is_fetched_again(blobs, tmp_path):
    cache = AdapterCache(blobs, tmp_path, 1000)
    file = await put(blobs, b"a")
    for _ in range(2):
        async with cache.hold([file]) as (path,):
            assert path.read_bytes() == b"a"
        path.unlink()
    assert (blobs.fetches, cache.size_bytes) == (2, 1)


async def test_a_new_worker_keeps_what_is_sound_on_disk_and_sweeps_drafts(blobs, tmp_path):
    sound, damaged = await put(blobs, b"a"), await put(blobs, b"b")
    (tmp_path / f"{sound.sha256}.safetensors").write_bytes(b"a")
    (tmp_path / f"{damaged.sha256}.safetensors").write_bytes(b"x")
    (tmp_path / ".draft").write_bytes(b"half")
    cache = AdapterCache(blobs, tmp_path, 1000)
    async with cache.hold([sound, damaged]) as paths:
        assert [path.read_bytes() for path in paths] == [b"a", b"b"]
    assert blobs.fetches == 1
    assert not (tmp_path / ".draft").exists()


async def test_runs_that_want_a_damaged_file_at_once_all_get_the_sound_one(blobs, tmp_path):
    file = await put(blobs, b"a")
    (tmp_path / f"{file.sha256}.safetensors").write_bytes(b"x")
    cache = AdapterCache(blobs, tmp_path, 1000)

    async def use():
        async with cache.hold([file]) as (path,):
            return path.read_bytes()

    assert await asyncio.gather(*(use() for _ in range(3))) == [b"a"] * 3
    assert blobs.fetches == 1
