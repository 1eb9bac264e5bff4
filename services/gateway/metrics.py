"""The gateway's Prometheus metrics. Labels are route templates and status codes, never what a client wrote."""

from __future__ import annotations

from imagineo.telemetry.metrics import LATENCY_BUCKETS
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

#: Stands for every path that no route has.
UNKNOWN_ROUTE = "unknown"


class GatewayMetrics:
    """What the gateway counts and times."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._requests = Counter(
            "imagineo_gateway_requests_total", "Requests.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "imagineo_gateway_request_seconds",
            "Time to answer.",
            ["method", "route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge("imagineo_gateway_requests_in_flight", "Requests being answered.", registry=registry)
        self._batch = Histogram(
            "imagineo_gateway_batch_items", "Calls in one batch.", ["call"], buckets=_BATCH_BUCKETS, registry=registry
        )
        self.publish_failures = Counter(
            "imagineo_gateway_publish_failures_total",
            "Accepted jobs left to the relay because the stream did not take them.",
            registry=registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note one answered request."""
        self._requests.labels(method, route or UNKNOWN_ROUTE, status).inc()
        self._seconds.labels(method, route or UNKNOWN_ROUTE).observe(seconds)

    def batched(self, call: str, items: int) -> None:
        """Note one coalesced call."""
        self._batch.labels(call).observe(items)
