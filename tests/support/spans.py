"""A collector of traces as OpenTelemetry's is: it takes OTLP over HTTP, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclass(frozen=True)
class Span:
    """One span as it was sent."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started_s: float
    ended_s: float
    attributes: dict[str, Any]


class Collector:
    """What has come in so far."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.url = ""

    def take(self, body: bytes) -> None:
        for group in trace_service_pb2.ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(one.value.string_value for one in group.resource.attributes if one.key == "service.name")
            self.spans += [
                Span(
                    service,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano / 1e9,
                    span.end_time_unix_nano / 1e9,
                    {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes},
                )
                for scope in group.scope_spans
                for span in scope.spans
            ]

    def of(self, trace_id: str) -> list[Span]:
        """One trace's spans, by their begin."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.started_s)


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Take traces on a free port of this machine."""
    collected = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collected.take(self.rfile.read(int(self.headers["Content-Length"])))
            answer = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collected.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collected
        finally:
            server.shutdown()
            thread.join()
