"""How far `estimated_time` is off under a steady load: runs arrive at random, at seven tenths of what can be done.

The error of a run is |promised - taken| / taken, from the submit's answer to the end that the run itself tells.
"""

from __future__ import annotations

import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx

from tests.bench.platform import platform, unbounded_key
from tests.bench.report import Report

_REQUEST = {"positive_prompt": "a red apple", "guidance": 7.5, "width": 256, "height": 256, "steps": 100}
_WARM_COUNT = 16
_COUNT = 60
_LOAD = 0.7


def run(report: Report) -> None:
    """Print the median error, and what the load was."""
    with platform(workers=1) as ready, httpx.Client(base_url=ready["url"], timeout=90) as client:
        client.headers["X-API-Key"] = unbounded_key(ready)
        body = {**_REQUEST, "model_id": client.get("/v1/base-models").json()["base_models"][0]["id"]}
        started_s = time.monotonic()
        warm = [_submit(client, body) for _ in range(_WARM_COUNT)]
        _ends(client, warm)
        capacity = _WARM_COUNT / (time.monotonic() - started_s)
        arrivals = random.Random(5)  # noqa: S311 - the same load each time
        submitted = []
        for _ in range(_COUNT):
            submitted.append(_submit(client, body))
            time.sleep(arrivals.expovariate(_LOAD * capacity))
        errors, taken, ratios = [], [], []
        for answer, done in zip(submitted, _ends(client, submitted), strict=True):
            taken_s = (_moment(done["finished_at"]) - _moment(done["created_at"])).total_seconds()
            taken.append(taken_s)
            errors.append(abs(answer["estimated_time"] - taken_s) / taken_s)
            ratios.append(answer["estimated_time"] / taken_s)
        report.figure("estimates_capacity_runs_per_s", capacity, "1/s")
        report.figure("estimates_taken_median_s", statistics.median(taken), "s")
        report.figure("estimates_median_promised_over_taken", statistics.median(ratios), "ratio")
        report.figure("estimates_median_error", statistics.median(errors), "ratio", at_most=0.3)


def _submit(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/generate", json=body).raise_for_status().json()
    return answer


def _ends(client: httpx.Client, submitted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs once they are completed, each followed by its events."""

    def end(answer: dict[str, Any]) -> dict[str, Any]:
        path = f"/v1/generations/{answer['run_id']}"
        with client.stream("GET", f"{path}/events", timeout=300) as events:
            for _ in events.iter_lines():
                pass
        done: dict[str, Any] = client.get(path).raise_for_status().json()
        if done["status"] != "completed":
            raise RuntimeError(f"the run ended {done['status']}")
        return done

    with ThreadPoolExecutor(max_workers=len(submitted)) as pool:
        return list(pool.map(end, submitted))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
