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
import time
from collections.abc import Iterator
from typing import Any

import httpx

from tests.bench.load import Outcome, Plan, send
from tests.bench.platform import cpu_s, platform, processes, unbounded_key
from tests.bench.report import Report

_PAIRS = 5
_REQUESTS = 6_000
_CONNECTIONS = 64
#: The equal load for p99, as a part of the slower one's capacity.
_LOAD_RATIO = 0.6


def run(report: Report) -> None:
    """Print the figures of the submit path."""
    with platform(workers=0) as ready, floor(ready) as floor_url:
        key = unbounded_key(ready)
        plans = {"ours": _plan(ready["url"], key, _model_id(ready["url"], key)), "floor": _plan(floor_url, key, "x")}
        for plan in plans.values():
            _checked(send(_with(plan, requests=1_000)))
        rates: dict[str, list[float]] = {name: [] for name in plans}
        cpu_started_s = sum(map(cpu_s, processes(ready).values()))
        for _ in range(_PAIRS):
            for name, plan in plans.items():
                rates[name].append(_checked(send(plan)).requests_per_s)
        report.figure("submit_requests_per_s", statistics.median(rates["ours"]), "1/s")
        report.figure("submit_floor_requests_per_s", statistics.median(rates["floor"]), "1/s")
        ratios = [ours / other for ours, other in zip(rates["ours"], rates["floor"], strict=True)]
        report.figure("submit_rate_to_floor", statistics.median(ratios), "ratio", at_least=0.35, aim=1.0)
        spent_s = sum(map(cpu_s, processes(ready).values())) - cpu_started_s
        report.figure("submit_cpu_both_per_request", spent_s / (_PAIRS * _REQUESTS) * 1e6, "us")
        rate_per_s = _LOAD_RATIO * min(statistics.median(rates["ours"]), statistics.median(rates["floor"]))
        p99_ms: dict[str, list[float]] = {name: [] for name in plans}
        for _ in range(_PAIRS):
            for name, plan in plans.items():
                p99_ms[name].append(_checked(send(_with(plan, rate_per_s=rate_per_s, requests=3_000))).p99_ms)
        ratios = [ours / other for ours, other in zip(p99_ms["ours"], p99_ms["floor"], strict=True)]
        report.figure("submit_p99_to_floor", statistics.median(ratios), "ratio", at_most=4.0, aim=1.5)
        report.figure("submit_p99_ms", statistics.median(p99_ms["ours"]), "ms")


@contextlib.contextmanager
def floor(ready: dict[str, Any]) -> Iterator[str]:
    """Run the floor's app on the platform's own Postgres and NATS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.bench.floor", str(port), ready["postgres_dsn"], ready["nats_url"]]
    process = subprocess.Popen(command)
    try:
        deadline_s = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > deadline_s:
                raise RuntimeError("the floor did not start")
            time.sleep(0.05)
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
