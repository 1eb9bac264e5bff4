"""A real HTTP proxy in front of the platform that does on demand what networks do, and tells what it was asked.

Each fault is used once, by the next request that it is for; other requests go through untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

_PIECE = 65_536


class Broken(Enum):
    """Where a connection breaks."""

    BEFORE = auto()
    """Before the platform has heard of the request."""
    AFTER = auto()
    """After it has answered, before the client hears it."""
    WITHHELD = auto()
    """Never: the platform has answered, and the client hears nothing of it."""
    SILENT = auto()
    """Never: nobody answers."""


@dataclass
class Fault:
    """One thing that goes wrong with one request."""

    what: Broken | bytes | int
    method: str = ""
    path: str = ""

    def is_for(self, method: str, path: str) -> bool:
        return self.method in ("", method) and re.search(self.path, path) is not None


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    at_s: float
    body: bytes = b""


@dataclass
class FaultyProxy:
    """Its address, the faults that wait, what it was asked."""

    target: str
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    withheld: list[Asked] = field(default_factory=list)
    """Those that the platform has answered and the client waits for."""
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    def answers(self, status: int, body: Any, *, method: str = "", path: str = "", **headers: str) -> None:
        """Answer the next request in the platform's stead; a text goes out as HTML."""
        is_page = isinstance(body, str)
        content = body.encode() if is_page else json.dumps(body).encode()
        said = {"Content-Type": "text/html" if is_page else "application/json", "Content-Length": str(len(content))}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        raw = f"HTTP/1.1 {status} X\r\n{head}Connection: close\r\n\r\n".encode() + content
        self.faults.append(Fault(raw, method, path))

    def refuses(self, status: int, code: str, *, method: str = "", path: str = "", **headers: str) -> None:
        """Answer with one of the platform's own refusals."""
        error = {"code": code, "message": f"This is {code}.", "request_id": "req_of_the_proxy"}
        self.answers(status, {"error": error}, method=method, path=path, **headers)

    def breaks(self, where: Broken, *, method: str = "", path: str = "") -> None:
        """Break the next connection."""
        self.faults.append(Fault(where, method, path))

    def cuts(self, after_events: int, *, path: str = "/events") -> None:
        """Break the next stream after so many events."""
        self.faults.append(Fault(after_events, "GET", path))

    def requests(self, method: str, path: str) -> list[Asked]:
        """Those that it was asked so far."""
        return [one for one in self.asked if one.method == method and re.search(path, one.path)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()
            self.serving.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        asked = Asked(method, path, headers, time.monotonic())
        self.asked.append(asked)
        fault = next((one for one in self.faults if one.is_for(method, path)), None)
        if fault is not None:
            self.faults.remove(fault)
        what = fault.what if fault else None
        if what is Broken.BEFORE:
            writer.transport.abort()
            return
        asked.body = await _body(reader, headers)
        if isinstance(what, bytes):
            writer.write(what)
            await writer.drain()
        elif what is Broken.SILENT:
            await reader.read()  # until the client goes
        else:
            await self._forward(line, lines, asked.body, writer, what)
            if what is Broken.WITHHELD:
                self.withheld.append(asked)
                await reader.read()  # until the client goes

    async def _forward(
        self, line: str, lines: list[str], body: bytes, writer: asyncio.StreamWriter, what: Broken | int | None
    ) -> None:
        there = urlsplit(self.target)
        far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
        kept = [
            one for one in lines if not one.lower().startswith(("connection:", "transfer-encoding:", "content-length:"))
        ]
        kept.append(f"Content-Length: {len(body)}")
        far_writer.write("\r\n".join([line, *kept, "Connection: close", "", ""]).encode("latin-1") + body)
        events = 0
        try:
            while piece := await far_reader.read(_PIECE):
                if what in (Broken.AFTER, Broken.WITHHELD):
                    continue
                events += piece.count(b"event: ")
                writer.write(piece)
                await writer.drain()
                if isinstance(what, int) and events >= what:
                    break
        finally:
            far_writer.close()
        if what not in (None, Broken.WITHHELD):
            writer.transport.abort()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@contextlib.asynccontextmanager
async def _proxy(target: str) -> AsyncIterator[FaultyProxy]:
    found = FaultyProxy(target)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        for task in found.serving:
            task.cancel()
        await asyncio.gather(*found.serving, return_exceptions=True)


@contextlib.contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """A proxy in front of an address, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    context = _proxy(target)
    found = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
