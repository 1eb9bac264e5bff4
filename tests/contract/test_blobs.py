"""What every object store does: the twin in memory, a local folder, and a real S3 server pass the same tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from imagineo.blobs import Blobs
from imagineo.blobs.memory import MemoryBlobs
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.errors import NotFound, Unavailable

from tests.support.deadlines import NOT_NEVER_S, lived
from tests.support.object_store import S3Server, s3_server

pytestmark = pytest.mark.integration

BIG = os.urandom(1 << 20) * 11 + b"end"  # more than two pieces of a stream, more than one part of an upload


@dataclass
class Subject:
    blobs: Blobs
    keeps_content_type: bool
    take_away: Callable[[], None]
    bring_back: Callable[[], None]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["memory", "folder", "s3"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "memory":
        memory = MemoryBlobs()
        yield Subject(memory, True, lambda: setattr(memory, "away", True), lambda: setattr(memory, "away", False))
    elif request.param == "folder":
        root = tmp_path / "store"
        aside = tmp_path / "aside"

        def take_away() -> None:
            root.rename(aside)
            root.write_bytes(b"a file where the folder was")

        def bring_back() -> None:
            root.unlink()
            aside.rename(root)

        yield Subject(ObstoreBlobs.from_url(root.as_uri()), False, take_away, bring_back)
    else:
        server: S3Server = request.getfixturevalue("s3")
        blobs = server.blobs(timeout_s=2.0)
        yield Subject(blobs, True, server.freeze, server.thaw)
        for key in await blobs.list(""):
            await blobs.delete(key)
        await blobs.close()


async def _pieces(data: bytes, size: int = 700_000) -> AsyncIterator[bytes]:
    for offset in range(0, len(data), size):
        yield data[offset : offset + size]


async def test_what_was_put_is_read(subject: Subject):
    for data in (b"picture", b"", BIG):
        await subject.blobs.put("images/org_1/a.png", data, content_type="image/png")
        assert await subject.blobs.get("images/org_1/a.png") == data
        assert b"".join([piece async for piece in subject.blobs.stream("images/org_1/a.png")]) == data


async def test_a_put_may_come_in_pieces(subject: Subject):
    for data in (BIG, b"", b"small"):
        await subject.blobs.put("a/pieces", _pieces(data), content_type="image/png")
        assert await subject.blobs.get("a/pieces") == data


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (3, 7), (0, None), (5, None), (None, 4), (8, 100), (10, 12), (10, None), (100, None), (4, 4), (0, 10)],
)
async def test_a_range_is_cut_at_the_end(subject: Subject, start: int | None, end: int | None):
    await subject.blobs.put("a/b", b"0123456789", content_type="text/plain")
    expected = b"0123456789"[start:end]
    assert await subject.blobs.get("a/b", start, end) == expected
    assert b"".join([piece async for piece in subject.blobs.stream("a/b", start, end)]) == expected


async def test_a_long_range_is_exact(subject: Subject):
    await subject.blobs.put("a/b", BIG, content_type="text/plain")
    first, last = 123_457, len(BIG) - 2
    pieces = [piece async for piece in subject.blobs.stream("a/b", first, last)]
    assert b"".join(pieces) == BIG[first:last]
    assert max(map(len, pieces)) <= 4 << 20


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4), (0, -1)])
async def test_a_senseless_range_is_an_error_of_the_caller(subject: Subject, start: int, end: int | None):
    with pytest.raises(ValueError, match="not a byte range"):
        await subject.blobs.get("a/b", start, end)


async def test_an_absent_object_is_not_found(subject: Subject, tmp_path: Path):
    assert await subject.blobs.head("no/such") is None
    for start, end in ((None, None), (0, 10), (5, None), (0, 0)):
        with pytest.raises(NotFound):
            await subject.blobs.get("no/such", start, end)
    with pytest.raises(NotFound):
        await subject.blobs.fetch_file("no/such", tmp_path / "fetched")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("fetched")] == []


async def test_head_tells_size_and_a_tag_that_changes_with_the_contents(subject: Subject):
    await subject.blobs.put("a/b", b"one", content_type="image/webp")
    one = await subject.blobs.head("a/b")
    await subject.blobs.put("a/b", b"three", content_type="image/webp")
    three = await subject.blobs.head("a/b")
    assert one
    assert three
    assert (one.size_bytes, three.size_bytes) == (3, 5)
    assert one.etag
    assert three.etag
    assert one.etag != three.etag
    assert '"' not in one.etag
    assert three.content_type == ("image/webp" if subject.keeps_content_type else None)


async def test_files_go_in_and_out(subject: Subject, tmp_path: Path):
    (tmp_path / "in").write_bytes(BIG)
    await subject.blobs.put_file("a/file.safetensors", tmp_path / "in")
    (tmp_path / "out").write_bytes(b"old")
    await subject.blobs.fetch_file("a/file.safetensors", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == BIG
    with pytest.raises(FileNotFoundError):
        await subject.blobs.put_file("a/other", tmp_path / "absent")


async def test_a_put_that_fails_leaves_the_old_object(subject: Subject):
    await subject.blobs.put("a/b", b"old", content_type="text/plain")

    async def broken() -> AsyncIterator[bytes]:
        yield b"new" * 100
        raise RuntimeError("the source broke")

    with pytest.raises((RuntimeError, Unavailable)):
        await subject.blobs.put("a/b", broken(), content_type="text/plain")
    assert await subject.blobs.get("a/b") == b"old"
    assert await subject.blobs.list("") == ["a/b"]


async def test_a_cancelled_put_leaves_the_old_object(subject: Subject):
    await subject.blobs.put("a/b", b"old", content_type="text/plain")
    started, never = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"new" * 100
        started.set()
        await never.wait()

    task = asyncio.create_task(subject.blobs.put("a/b", endless(), content_type="text/plain"))
    await started.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert await subject.blobs.get("a/b") == b"old"
    assert await subject.blobs.list("") == ["a/b"]


async def test_readers_see_the_old_object_or_the_new_one(subject: Subject):
    versions = {bytes([number]) * 300_000 for number in range(6)}
    await subject.blobs.put("a/b", bytes([0]) * 300_000, content_type="text/plain")

    async def write() -> None:
        for version in sorted(versions):
            await subject.blobs.put("a/b", version, content_type="text/plain")

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await subject.blobs.get("a/b") in versions
    await writing


async def test_an_object_overwritten_while_it_is_streamed_is_noticed(subject: Subject):
    if isinstance(subject.blobs, MemoryBlobs):
        pytest.skip("the twin reads its objects at once")
    await subject.blobs.put("a/b", BIG, content_type="text/plain")
    stream = subject.blobs.stream("a/b")
    first = await anext(stream)
    await subject.blobs.put("a/b", bytes(len(BIG)), content_type="text/plain")
    assert BIG.startswith(first)
    with pytest.raises(Unavailable):
        await anext(stream)


async def test_deleting_is_final_and_may_be_repeated(subject: Subject):
    await subject.blobs.put("images/o/r/1.png", b"x", content_type="image/png")
    await subject.blobs.put("images/o/s/1.png", b"y", content_type="image/png")
    for _ in range(2):
        await subject.blobs.delete("images/o/r/1.png")
    assert await subject.blobs.head("images/o/r/1.png") is None
    assert await subject.blobs.list("images/o") == ["images/o/s/1.png"]


async def test_lists_go_by_whole_folders(subject: Subject):
    keys = ["a/1", "a/2/x", "ab/1", "b"]
    for key in keys:
        await subject.blobs.put(key, b"x", content_type="text/plain")
    assert await subject.blobs.list("") == keys
    assert await subject.blobs.list("a") == ["a/1", "a/2/x"]
    assert await subject.blobs.list("none") == []


async def test_puts_and_deletes_of_neighbours_do_not_disturb_each_other(subject: Subject):
    async def churn(number: int) -> None:
        for _ in range(8):
            await subject.blobs.put(f"images/o/{number % 3}/{number}", b"x", content_type="text/plain")
            await subject.blobs.delete(f"images/o/{number % 3}/{number}")

    await asyncio.gather(*(churn(number) for number in range(9)))
    assert await subject.blobs.list("images") == []


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a b", "ä", "a\\b", "a#1", "x" * 513])
async def test_a_key_that_could_lead_elsewhere_is_refused(subject: Subject, key: str):
    with pytest.raises(ValueError, match="not a store key"):
        await subject.blobs.put(key, b"x", content_type="text/plain")
    for read in (subject.blobs.get, subject.blobs.head, subject.blobs.delete):
        with pytest.raises(ValueError, match="not a store key"):
            await read(key)


async def test_a_store_that_is_away_is_told_in_bounded_time_and_heals(subject: Subject):
    await subject.blobs.put("a/b", b"kept", content_type="text/plain")
    await subject.blobs.ping()
    subject.take_away()
    try:
        for attempt in (
            lambda: subject.blobs.put("a/c", b"x", content_type="text/plain"),
            lambda: subject.blobs.get("a/b"),
            lambda: subject.blobs.head("a/b"),
            subject.blobs.ping,
        ):
            async with lived() as waited:
                with pytest.raises(Unavailable):
                    await attempt()
            assert waited.s < NOT_NEVER_S, "a store that is away is asked again for too long"
    finally:
        subject.bring_back()
    assert await subject.blobs.get("a/b") == b"kept"
    await subject.blobs.put("a/c", b"x", content_type="text/plain")
