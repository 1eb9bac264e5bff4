"""One real generation as one connected trace: REST, gRPC, NATS and the engine's stages, sent to a collector by OTLP."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.platform import platform as local_platform
from tests.support.spans import Collector, Span, collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = "0af7651916cd43dd8448eb211c80319c"
#: The last to be sent: status has settled the run.
LAST = "process imagineo.v1.outcomes"


@pytest.fixture(scope="module")
def traces() -> Iterator[Collector]:
    with collector() as collected:
        yield collected


@pytest.fixture(scope="module")
def traced(traces: Collector) -> Iterator[Platform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGINEO_TRACES_ENDPOINT", traces.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        with local_platform("--no-first-image") as running:
            yield running


def test_one_generation_is_one_connected_trace_from_the_request_to_the_stored_image(
    traced: Platform, traces: Collector
) -> None:
    with traced.account() as account:
        answer = account.post("/v1/generate", account.body(), headers={"traceparent": PARENT})
        run_id = answer.json()["run_id"]
        assert account.until(run_id)["status"] == "completed"

    def whole() -> list[Span]:
        found = traces.of(TRACE)
        names = {span.name for span in found}
        return found if {LAST, "process imagineo.v1.jobs", "POST /v1/generate"} <= names else []

    spans = eventually(whole, within_s=SURELY_S, what="all spans of the run are sent")

    assert answer.headers["traceresponse"].split("-")[1] == TRACE
    by_id = {span.span_id: span for span in spans}
    roots = [span for span in spans if span.parent_id not in by_id]
    assert [(span.name, span.parent_id) for span in roots] == [("POST /v1/generate", "b7ad6b7169203331")]
    here = {(span.service, span.name) for span in spans}
    assert {
        ("imagineo-gateway", "POST /v1/generate"),
        ("imagineo-gateway", "imagineo.v1.AuthService/Authorize"),
        ("imagineo-auth", "imagineo.v1.AuthService/Authorize"),
        ("imagineo-gateway", "imagineo.v1.GenerationService/Accept"),
        ("imagineo-status", "imagineo.v1.GenerationService/Accept"),
        ("imagineo-gateway", "send imagineo.v1.jobs"),
        ("imagineo-worker", "process imagineo.v1.jobs"),
        ("imagineo-worker", "queue"),
        ("imagineo-worker", "claim"),
        ("imagineo-status", "imagineo.v1.GenerationService/Claim"),
        ("imagineo-worker", "fetch"),
        ("imagineo-worker", "encode text"),
        ("imagineo-worker", "denoise"),
        ("imagineo-worker", "decode"),
        ("imagineo-worker", "encode"),
        ("imagineo-worker", "upload"),
        ("imagineo-worker", "tell"),
        ("imagineo-worker", "send imagineo.v1.outcomes"),
        ("imagineo-status", LAST),
    } <= here
    drawing = next(span for span in spans if span.name == "process imagineo.v1.jobs")
    assert drawing.attributes["imagineo.run_id"] == run_id
    stages = [span for span in spans if span.parent_id == drawing.span_id]
    wanted = ["queue", "claim", "fetch", "encode text", "denoise", "decode", "encode", "upload", "tell"]
    assert [span.name for span in stages if span.name in wanted] == wanted
    assert all(span.started_s <= span.ended_s <= drawing.ended_s + 0.01 for span in stages)


def test_the_log_lines_of_a_traced_run_bear_its_trace_request_run_and_account(traced: Platform) -> None:
    parent = PARENT.replace("0af7", "1bf7")
    with traced.account() as account:
        answer = account.post(
            "/v1/generate",
            account.body(webhook_url="http://127.0.0.1:9/nobody"),
            headers={"traceparent": parent, "X-Request-Id": "traced-request"},
        )
        run_id = answer.json()["run_id"]
        account.until(run_id)

    expected = {
        "run_id": run_id,
        "request_id": "traced-request",
        "org_id": account.organization_id,
        "trace_id": parent.split("-")[1],
    }

    def said(service: str, message: str, wanted: dict[str, str] = expected) -> bool:
        lines = (traced.data / "logs" / f"{service}.log").read_text().splitlines()
        entries = [json.loads(line) for line in lines if "traced-request" in line]
        return any(entry["message"] == message and wanted.items() <= entry.items() for entry in entries)

    eventually(lambda: said("worker", "run completed"), within_s=SURELY_S, what="the worker's line")
    eventually(lambda: said("gateway", "request"), within_s=SURELY_S, what="the gateway's line")
    # It comes out of a row, whenever that is due: the trace is over by then.
    later = {name: value for name, value in expected.items() if name != "trace_id"}
    eventually(lambda: said("webhooks", "attempt", later), within_s=SURELY_S, what="the line of the webhook's attempt")
