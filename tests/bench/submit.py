"""Submit: requests a second and p99 through gateway, auth, status and JetStream, against the floor on the same servers.

The two take turns (A B A B …) in one run; what counts is the median of the ratios of neighbours.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx

from tests.bench.load import Outcome, Plan, send
from tests.bench.platform import cpu_s, platform, processes, unbounded_key, wait_for_port
from tests.bench.report import Report

_PAIRS = 5
_REQUESTS = 6_000
_CONNECTIONS = 64
#: A rate that leaves both far from their capacity.
_RATE_PER_S = 500


def run(report: Report) -> None:
    """Print the figures of the submit path."""
    with platform(workers=0) as ready, floor(ready) as floor_url:
        key = unbounded_key(ready)
        plans = {"ours": _plan(ready["url"], key, _model_id(ready["url"], key)), "floor": _plan(floor_url, key, "x")}
        for plan in plans.values():
            _checked(send(_with(plan, requests=1_000)))
        cpu_started_s = sum(map(cpu_s, processes(ready).values()))
        busy: dict[str, list[Outcome]] = {name: [] for name in plans}
        for _ in range(_PAIRS):
            for name, plan in plans.items():
                busy[name].append(_checked(send(plan)))
        spent_s = sum(map(cpu_s, processes(ready).values())) - cpu_started_s
        rates = {name: statistics.median(outcome.requests_per_s for outcome in found) for name, found in busy.items()}
        report.figure("submit_requests_per_s", rates["ours"], "1/s")
        report.figure("submit_floor_requests_per_s", rates["floor"], "1/s")
        report.figure("submit_rate_to_floor", _ratio(busy, "requests_per_s"), "ratio", at_least=0.35, aim=1.0)
        report.figure("submit_cpu_both_per_request", spent_s / (_PAIRS * _REQUESTS) * 1e6, "us")
        report.figure("submit_p99_ms", statistics.median(outcome.p99_ms for outcome in busy["ours"]), "ms")
        # The same load is the same number of clients, each of whom waits for his answer.
        report.figure("submit_p99_to_floor", _ratio(busy, "p99_ms"), "ratio", at_most=4.0, aim=1.5)
    with platform(workers=0) as ready, floor(ready) as floor_url:
        # At the same rate the floor idles where we work: two more hops and two more transactions show in full.
        key = unbounded_key(ready)
        plans = {"ours": _plan(ready["url"], key, _model_id(ready["url"], key)), "floor": _plan(floor_url, key, "x")}
        paced: dict[str, list[Outcome]] = {name: [] for name in plans}
        for _ in range(_PAIRS):
            for name, plan in plans.items():
                paced[name].append(_checked(send(_with(plan, rate_per_s=_RATE_PER_S, requests=_RATE_PER_S * 3))))
        report.figure(
            "submit_p99_ms_at_500_per_s", statistics.median(outcome.p99_ms for outcome in paced["ours"]), "ms"
        )
        report.figure("submit_p99_to_floor_at_500_per_s", _ratio(paced, "p99_ms"), "ratio")


def _ratio(outcomes: dict[str, list[Outcome]], name: str) -> float:
    """The median of the ratios of neighbours."""
    pairs = zip(outcomes["ours"], outcomes["floor"], strict=True)
    return statistics.median(getattr(ours, name) / getattr(other, name) for ours, other in pairs)


@contextlib.contextmanager
def floor(ready: dict[str, Any]) -> Iterator[str]:
    """Run the floor's app on the platform's own Postgres and NATS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.bench.floor", str(port), ready["postgres_dsn"], ready["nats_url"]]
    process = subprocess.Popen(command)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _plan(url: str, key: str, model_id: str) -> Plan:
    body = {
        "positive_prompt": "A blue ceramic coffee mug on a wooden table",
        "negative_prompt": "blurry, low quality",
        "model_id": model_id,
        "lora_weight": 0.8,
        "guidance": 7.5,
        "width": 1024,
        "height": 1024,
    }
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    return Plan(f"{url}/v1/generate", "POST", headers, json.dumps(body), _CONNECTIONS, _REQUESTS)


def _with(plan: Plan, **changes: Any) -> Plan:
    return Plan(**{**plan.__dict__, **changes})


def _model_id(url: str, key: str) -> str:
    answer = httpx.get(f"{url}/v1/models", headers={"X-API-Key": key}).raise_for_status().json()
    if answer["models"]:
        return str(answer["models"][0]["id"])
    answer = httpx.get(f"{url}/v1/base-models", headers={"X-API-Key": key}).raise_for_status().json()
    return str(answer["base_models"][0]["id"])


def _checked(outcome: Outcome) -> Outcome:
    if set(outcome.by_status) != {"200"}:
        raise RuntimeError(f"not every request was answered 200: {outcome.by_status}")
    return outcome
