"""Archives are made while they are sent, in little memory, and every tool's own reader opens them."""

from __future__ import annotations

import asyncio
import io
import tracemalloc
import zipfile
from collections.abc import AsyncIterator

from services.gateway.archive import Archive


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def written(files: dict[str, tuple[bytes, ...]], *, sized: bool = True) -> bytes:
    archive, out = Archive(), bytearray()
    for name, pieces in files.items():
        size_bytes = sum(map(len, pieces)) if sized else None
        async for part in archive.file(name, pieces_of(*pieces), size_bytes=size_bytes):
            out += part
    async for part in archive.end():
        out += part
    return bytes(out)


def test_what_is_put_in_comes_out():
    files = {"a.png": (b"one", b"two"), "ü.txt": (b"",), "empty": (), "b/c.bin": (bytes(range(256)) * 100,)}
    for sized in (True, False):
        content = asyncio.run(written(files, sized=sized))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == {
                name: b"".join(pieces) for name, pieces in files.items()
            }


def test_a_file_of_another_length_than_was_said_is_still_whole():
    async def write() -> bytes:
        archive, out = Archive(), bytearray()
        async for part in archive.file("a", pieces_of(b"12345"), size_bytes=3):
            out += part
        async for part in archive.end():
            out += part
        return bytes(out)

    with zipfile.ZipFile(io.BytesIO(asyncio.run(write()))) as archive:
        assert archive.read("a") == b"12345"


def test_a_thousand_pictures_pass_through_in_the_memory_of_a_few_pieces():
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield bytes([number % 251]) * 65_536

    async def send() -> int:
        archive, sent = Archive(), 0
        for number in range(1_000):
            async for part in archive.file(f"{number:04d}.png", pieces(16), size_bytes=16 * 65_536):
                sent += len(part)
        async for part in archive.end():
            sent += len(part)
        return sent

    tracemalloc.start()
    try:
        sent = asyncio.run(send())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 1_000 * 2**20
    assert peak < 8 * 2**20
