"""A load generator in a process of its own: keep-alive connections, closed loop or a fixed rate, latencies in ms.

Run as `python -m tests.bench.load`, it reads one JSON object (`Plan`) from standard input and prints one (`Outcome`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httptools
import uvloop


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to send: `requests` in all over `connections`; `rate_per_s` 0 sends as fast as answers come."""

    url: str
    method: str
    headers: dict[str, str]
    body: str
    connections: int
    requests: int
    rate_per_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of it. Latencies count from when a request was due, so that a stalled server cannot hide its queue."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    by_status: dict[str, int]


class _Client(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server closed the connection"))

    def on_message_complete(self) -> None:
        status, answer = self._parser.get_status_code(), self._answer
        self._parser = httptools.HttpResponseParser(self)
        if answer and not answer.done():
            answer.set_result(status)

    async def send(self, request: bytes) -> int:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]
        return await self._answer


async def _run(plan: Plan) -> Outcome:
    url = urlsplit(plan.url)
    request = _encode(plan, url.path, url.netloc)
    clients = [
        (await asyncio.get_running_loop().create_connection(_Client, url.hostname, url.port))[1]
        for _ in range(plan.connections)
    ]
    latencies_ms: list[float] = []
    by_status: dict[str, int] = {}
    turns = iter(range(plan.requests))
    started_s = time.perf_counter()

    async def work(client: _Client) -> None:
        for turn in turns:
            due_s = time.perf_counter()
            if plan.rate_per_s:
                due_s = started_s + turn / plan.rate_per_s
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            status = str(await client.send(request))
            latencies_ms.append((time.perf_counter() - due_s) * 1e3)
            by_status[status] = by_status.get(status, 0) + 1

    await asyncio.gather(*(work(client) for client in clients))
    elapsed_s = time.perf_counter() - started_s
    latencies_ms.sort()
    return Outcome(
        requests_per_s=plan.requests / elapsed_s,
        p50_ms=latencies_ms[len(latencies_ms) // 2],
        p99_ms=latencies_ms[int(len(latencies_ms) * 0.99)],
        by_status=by_status,
    )


def _encode(plan: Plan, path: str, host: str) -> bytes:
    headers = {"Host": host, "Content-Length": str(len(plan.body.encode())), **plan.headers}
    lines = [f"{plan.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", plan.body]
    return "\r\n".join(lines).encode()


def send(plan: Plan) -> Outcome:
    """Run `plan` in a process of its own and wait for its outcome."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=json.dumps(dataclasses.asdict(plan)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Outcome(**json.loads(done.stdout))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(dataclasses.asdict(runner.run(_run(Plan(**json.load(sys.stdin)))))))
