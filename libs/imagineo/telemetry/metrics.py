"""Prometheus metrics and probes on a port of the service's own. Names read `imagineo_<service>_<noun>_<unit>`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app

from imagineo.telemetry.probes import Probes

#: Upper bounds in seconds: from a cached answer to a deadline missed.
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

#: How often the event loop is asked how late it is, in seconds.
_LAG_INTERVAL_S = 0.5


def serve(listen: str, probes: Probes | None = None) -> int:
    """Serve `/metrics` and the probes on `host:port` from a thread; port 0 takes a free one. Returns the bound port."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    kind = _Server6 if ":" in host else _Server
    server: WSGIServer = make_server(host, int(port), _app(probes or Probes()), kind, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_port)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request: they come every few seconds."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _app(probes: Probes) -> Callable[..., Iterable[bytes]]:
    metrics = make_wsgi_app()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = probes.answer(environ.get("PATH_INFO", ""))
        if found is None:
            answered: Iterable[bytes] = metrics(environ, start_response)
            return answered
        status, content = found
        start_response("200 OK" if status == 200 else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps(content).encode()]

    return answer


class RpcMetrics:
    """Counts and times the RPCs that a service answers."""

    def __init__(self, service: str) -> None:
        self._seconds = Histogram(
            f"imagineo_{service}_rpc_seconds", "Time to answer an RPC.", ["method"], buckets=LATENCY_BUCKETS
        )
        self._total = Counter(f"imagineo_{service}_rpc_total", "RPCs answered.", ["method", "code"])

    @contextlib.contextmanager
    def observe(self, method: str) -> Iterator[RpcOutcome]:
        """Time one RPC; the block sets `outcome.code` where it is not OK."""
        started_s = time.perf_counter()
        outcome = RpcOutcome()
        try:
            yield outcome
        finally:
            self._seconds.labels(method).observe(time.perf_counter() - started_s)
            self._total.labels(method, outcome.code).inc()


class RpcOutcome:
    """How an RPC ended, as a gRPC status name."""

    code: str = "OK"


async def watch_loop_lag(service: str, probes: Probes | None = None) -> None:
    """Measure how late the event loop runs its timers, and tell that it does; run it for the life of the service."""
    lag = Gauge(f"imagineo_{service}_event_loop_lag_seconds", "How late the event loop ran its last timer.")
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _LAG_INTERVAL_S
        await asyncio.sleep(_LAG_INTERVAL_S)
        lag.set(max(0.0, loop.time() - due_s))
        if probes:
            probes.beat()
