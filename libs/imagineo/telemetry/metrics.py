"""Prometheus metrics on a port of the service's own. Names read `imagineo_<service>_<noun>_<unit>`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram, start_http_server

#: Upper bounds in seconds: from a cached answer to a deadline missed.
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

#: How often the event loop is asked how late it is, in seconds.
_LAG_INTERVAL_S = 0.5


def serve(listen: str) -> int:
    """Serve `/metrics` on `host:port` from a thread of its own; port 0 takes a free one. Returns the bound port."""
    host, _, port = listen.rpartition(":")
    server, _thread = start_http_server(int(port), addr=host or "127.0.0.1")
    return int(server.server_port)


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


async def watch_loop_lag(service: str) -> None:
    """Measure how late the event loop runs its timers; run it as a task for the life of the service."""
    lag = Gauge(f"imagineo_{service}_event_loop_lag_seconds", "How late the event loop ran its last timer.")
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _LAG_INTERVAL_S
        await asyncio.sleep(_LAG_INTERVAL_S)
        lag.set(max(0.0, loop.time() - due_s))
