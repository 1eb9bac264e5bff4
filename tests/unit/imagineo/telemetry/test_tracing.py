"""Traces: nothing while off; parts of what runs, never roots of their own; carried from process to process."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from imagineo import settings
from imagineo.telemetry import logs, tracing
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.install(provider)
    yield exporter
    tracing.install(None)


def names(spans: InMemorySpanExporter) -> list[str]:
    return [span.name for span in spans.get_finished_spans()]


def test_while_off_nothing_is_carried_and_nothing_is_loaded():
    with tracing.continued({"traceparent": PARENT}), tracing.span("a", begins=True):
        tracing.record("b", 1.0, 2.0)
        assert tracing.carrier() == {}
        assert tracing.trace_id() == ""
    code = "import imagineo.telemetry.tracing, imagineo.rpc.server, imagineo.broker.jetstream, sys; "
    code += "sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_runs_in_the_background_begins_no_trace(spans: InMemorySpanExporter):
    with tracing.span("look for work"):
        tracing.record("looked", 1.0, 2.0)

    assert names(spans) == []


def test_a_trace_goes_on_where_another_process_left_it(spans: InMemorySpanExporter):
    with tracing.continued({"traceparent": PARENT}):
        with tracing.span("draw", {"imagineo.run_id": "gen_1"}, kind="CONSUMER"):
            tracing.record("queue", 1.5, 2.0)
            carried = tracing.carrier()
        assert tracing.trace_id() == TRACE

    queue, draw = spans.get_finished_spans()
    assert (queue.name, draw.name) == ("queue", "draw")
    assert format(draw.context.trace_id, "032x") == TRACE
    assert draw.parent is not None
    assert queue.parent is not None
    assert format(draw.parent.span_id, "016x") == "b7ad6b7169203331"
    assert queue.parent.span_id == draw.context.span_id
    assert (queue.start_time, queue.end_time) == (1_500_000_000, 2_000_000_000)
    assert carried["traceparent"].split("-")[2] == format(draw.context.span_id, "016x")


def test_what_carries_no_sane_context_begins_anew_where_it_may(spans: InMemorySpanExporter):
    with tracing.continued({"traceparent": "00-zz"}), tracing.span("GET", begins=True):
        assert len(tracing.trace_id()) == 32

    assert names(spans) == ["GET"]


def test_log_lines_name_the_trace_the_request_the_run_and_the_account(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("test")
    try:
        with tracing.continued({"traceparent": PARENT}), logs.bind(request_id="req_1", run_id=""):
            logs.note(org_id="org_1", run_id="gen_1")
            logging.getLogger("x").info("drawn")
    finally:
        root.handlers[:] = before
        root.setLevel(level)

    line = json.loads(written.getvalue())
    said = {name: line[name] for name in ("message", "service", "request_id", "run_id", "org_id", "trace_id")}
    assert said == {
        "message": "drawn", "service": "test", "request_id": "req_1", "run_id": "gen_1", "org_id": "org_1",
        "trace_id": TRACE,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [("TRACES_ENDPOINT", "collector:4318"), ("TRACES_RATIO", "2"), ("TRACES_RATIO", "-1")]
)
def test_settings_that_make_no_sense_are_refused(name: str, value: str):
    with pytest.raises(settings.SettingsError, match=name):
        settings.read(tracing.TracingSettings, {f"IMAGINEO_{name}": value}, prefix="IMAGINEO_AUTH_")
