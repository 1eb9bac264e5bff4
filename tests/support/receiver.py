"""A receiver of webhooks on this machine: a real HTTP server that a test scripts, and that verifies what it gets.

It answers each request with the next of its `answers`, then with 200 for ever. `verify` is the reference library's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from tests.support.deadlines import SURELY_S

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Answer = Callable[[Reader, Writer], Awaitable[None]]


@dataclass
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> dict[str, Any]:
        """The body, if the signature is the secret's; raises WebhookVerificationError otherwise."""
        content: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return content

    def is_signed_by(self, secret: str) -> bool:
        """The same without a look at the real time, for tests that turn the clock."""
        moment = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        signature = Webhook(secret).sign(self.event_id, moment, self.body.decode())
        return signature in self.headers["webhook-signature"].split()


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status."""

    async def answer(_reader: Reader, writer: Writer) -> None:
        fields = {
            "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)
        await writer.drain()

    return answer


def holds(until: asyncio.Event) -> Answer:
    """Say nothing until an event, then 200."""

    async def answer(reader: Reader, writer: Writer) -> None:
        await until.wait()
        await says(200)(reader, writer)

    return answer


async def hangs_up(_reader: Reader, writer: Writer) -> None:
    """Close the connection without a word."""
    writer.transport.abort()


async def babbles(_reader: Reader, writer: Writer) -> None:
    """Answer 200 with a body that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()


@dataclass
class Receiver:
    """One server; `queue` holds what came in order."""

    port: int = 0
    scheme: str = "http"
    answers: list[Answer] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    queue: asyncio.Queue[Received] = field(default_factory=asyncio.Queue)
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    async def next(self, within_s: float = SURELY_S) -> Received:
        """Wait for the next request."""
        async with asyncio.timeout(within_s):
            return await self.queue.get()

    async def handle(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            answer = self.answers.pop(0) if self.answers else says(200)
            request = Received(head[0], headers, body)
            self.requests.append(request)
            await self.queue.put(request)
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # whoever asked is gone, or the test is over
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def receiver(*answers: Answer, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """Listen while the block runs."""
    found = Receiver(scheme="https" if tls else "http", answers=list(answers))
    server = await asyncio.start_server(found.handle, "127.0.0.1", port, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in [*found.tasks]:
            task.cancel()
        await asyncio.gather(*[*found.tasks], return_exceptions=True)


class Listening:
    """A receiver for tests without a loop of their own: it runs in a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, found: Receiver) -> None:
        self._loop = loop
        self._found = found
        self.url = found.url

    def next(self, within_s: float = SURELY_S) -> Received:
        """Wait for the next request."""
        return asyncio.run_coroutine_threadsafe(self._found.next(within_s), self._loop).result()

    def answer(self, *answers: Answer) -> None:
        """Say what the next requests are answered."""
        self._loop.call_soon_threadsafe(self._found.answers.extend, answers)


@contextlib.contextmanager
def listening() -> Iterator[Listening]:
    """Listen while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    context = receiver()
    found = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
    try:
        yield Listening(loop, found)
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
