"""Traces by OpenTelemetry, from a request to the stored image. Off unless an endpoint is set; then all here is nothing.

A trace begins at a REST request, or goes on from the client's `traceparent`; what runs in the background begins none.
The packages are the extra `tracing`: they are imported when a process traces, and not before.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from imagineo.settings import SettingsError

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
Attributes = Mapping[str, str | int | float | bool]

_NS: Final = 1_000_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """Settings of every program."""

    traces_endpoint: str = ""
    """Where spans go, by OTLP over HTTP, such as `http://collector:4318/v1/traces`; empty: nothing is traced."""
    traces_ratio: float = 1.0
    """Which part of the traces that begin here is kept, 0 to 1; of those that clients began they decide."""

    def __post_init__(self) -> None:
        if self.traces_endpoint and urlsplit(self.traces_endpoint).scheme not in ("http", "https"):
            raise ValueError("TRACES_ENDPOINT must begin with http:// or https://")
        if not 0 <= self.traces_ratio <= 1:
            raise ValueError("TRACES_RATIO must be from 0 to 1")


class _Tracing:
    """What OpenTelemetry gives, once it is loaded."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import context, trace  # noqa: PLC0415  # only where it traces
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self.context, self.trace = context, trace
        self.tracer = provider.get_tracer("imagineo")
        self.propagator = TraceContextTextMapPropagator()

    @property
    def current(self) -> Any:
        """The span context of now; it may be invalid."""
        return self.trace.get_current_span().get_span_context()


_tracing: _Tracing | None = None


def install(provider: Any) -> None:
    """Trace to an OpenTelemetry provider from now on; None: trace no more."""
    global _tracing  # noqa: PLW0603  # a process traces or does not
    _tracing = None if provider is None else _Tracing(provider)


@contextlib.contextmanager
def exporting(service: str, settings: TracingSettings) -> Iterator[None]:
    """Trace while the block runs, where the settings say so; what is left is sent at its end.

    Raises:
        SettingsError: if the packages are not there.
    """
    if not settings.traces_endpoint:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415
    except ImportError as problem:
        raise SettingsError("TRACES_ENDPOINT needs the packages of the extra `tracing`") from problem
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"imagineo-{service}", "service.namespace": "imagineo"}),
        sampler=ParentBasedTraceIdRatio(settings.traces_ratio),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.traces_endpoint)))
    install(provider)
    try:
        yield
    finally:
        install(None)
        provider.shutdown()


def is_on() -> bool:
    """Tell whether this process traces."""
    return _tracing is not None


def span(
    name: str, attributes: Attributes | None = None, *, kind: Kind = "INTERNAL", begins: bool = False
) -> AbstractContextManager[None]:
    """Trace the block as a part of what runs now; where nothing is traced, only with `begins`."""
    if _tracing is None or not (begins or _tracing.current.is_valid):
        return contextlib.nullcontext()
    return _span(_tracing, name, attributes, kind)


@contextlib.contextmanager
def _span(tracing: _Tracing, name: str, attributes: Attributes | None, kind: Kind) -> Iterator[None]:
    # What a block raises is noted on its span; a cancellation and a generator's end are no errors.
    with tracing.tracer.start_as_current_span(name, kind=tracing.trace.SpanKind[kind], attributes=attributes):
        yield


def record(name: str, started_s: float, ended_s: float, attributes: Attributes | None = None) -> None:
    """Add what has happened already, between two moments of Unix time, to what runs now."""
    if _tracing is None or not _tracing.current.is_valid:
        return
    over = _tracing.tracer.start_span(name, attributes=attributes, start_time=round(started_s * _NS))
    over.end(round(max(started_s, ended_s) * _NS))


def note(attributes: Attributes) -> None:
    """Say more of what runs now."""
    if _tracing is not None:
        _tracing.trace.get_current_span().set_attributes(attributes)


def rename(name: str) -> None:
    """Call what runs now by a name that was not known when it began."""
    if _tracing is not None:
        _tracing.trace.get_current_span().update_name(name)


def fail(description: str) -> None:
    """Say that what runs now has failed."""
    if _tracing is not None:
        _tracing.trace.get_current_span().set_status(_tracing.trace.StatusCode.ERROR, description)


def carrier() -> dict[str, str]:
    """What tells another process to go on with this trace: W3C `traceparent`, `tracestate`; empty without a trace."""
    found: dict[str, str] = {}
    if _tracing is not None:
        _tracing.propagator.inject(found)
    return found


@contextlib.contextmanager
def continued(carried: Mapping[str, str]) -> Iterator[None]:
    """Go on, inside the block, with the trace that another process carried here."""
    if _tracing is None:
        yield
        return
    token = _tracing.context.attach(_tracing.propagator.extract(carried))
    try:
        yield
    finally:
        _tracing.context.detach(token)


def trace_id() -> str:
    """The trace of now, in 32 hexadecimal digits; empty without one."""
    if _tracing is None:
        return ""
    current = _tracing.current
    return format(current.trace_id, "032x") if current.is_valid else ""
