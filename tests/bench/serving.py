"""The platform side by side with what one would pick instead: the starter, sixteen LoRAs and mixed traffic over HTTP.

Each framework runs with its own batching and one model, with one thread of torch unless IMAGINEO_BENCH_THREADS says
more. Ours is the whole platform, with one thread for the steps and others for text, pictures and the services. Ours and
theirs take turns, three pairs for each framework installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.engine_parts.plot import plot
from tests.bench.platform import unbounded_key
from tests.bench.report import Report
from tests.bench.serving_parts import traffic
from tests.bench.serving_parts.stock import FOLDER, THREADS
from tests.support import platform as local

_PAIRS = 3
_MUST = 1.5
_START_WITHIN_S = 180
_STOP_WITHIN_S = 20
_COMMANDS = {
    "litserve": ["-m", "tests.bench.serving_parts.litserve_app", "{port}"],
    "bentoml": ["-m", "bentoml", "serve", "tests.bench.serving_parts.bentoml_app:Draw", "--port", "{port}"],
    "ray": ["-m", "tests.bench.serving_parts.ray_app", "{port}"],
}


def run(report: Report) -> None:
    """Measure every framework that is installed."""
    _measure(report, list(_COMMANDS))


def run_litserve(report: Report) -> None:
    """Measure LitServe alone."""
    _measure(report, ["litserve"])


def run_bentoml(report: Report) -> None:
    """Measure BentoML alone."""
    _measure(report, ["bentoml"])


def run_ray(report: Report) -> None:
    """Measure Ray Serve alone."""
    _measure(report, ["ray"])


def _measure(report: Report, names: list[str]) -> None:
    installed = [name for name in names if importlib.util.find_spec(name)]
    if not installed:
        sys.exit("none is installed; see the extra `bench-serving`")
    with tempfile.TemporaryDirectory() as folder:
        weights = traffic.weights(Path(folder) / "weights")
        with local.platform("--workers", "1", "--no-first-image", "--weights", str(weights)) as ours:
            found = [_pairs(report, name, weights, ours.ready) for name in installed]
    report.figure("images_platform_over_best_framework", min(found), "ratio", at_least=_MUST)
    plot(report.path, report.path.with_suffix(".svg"))


def _pairs(report: Report, name: str, weights: Path, ready: dict[str, Any]) -> float:
    """How many times the images a second of a framework the platform draws."""
    pairs, theirs_ms, ours_ms, rates = [], [], [], []
    with _server(name, weights) as port:
        for seed in range(_PAIRS + 1):
            asked = traffic.requests(seed)
            if seed == 0:  # both warm up
                asked = asked[:16]
            theirs, ours = asyncio.run(_both(asked, name, port, ready))
            if seed:
                pairs.append(ours.images_per_s / theirs.images_per_s)
                theirs_ms.append(theirs.p95_ms)
                ours_ms.append(ours.p95_ms)
                rates.append((theirs.images_per_s, ours.images_per_s))
    ratio = statistics.median(pairs)
    report.figure(f"{name}_images_per_s", statistics.median(rate[0] for rate in rates), "images/s")
    report.figure(f"{name}_platform_images_per_s", statistics.median(rate[1] for rate in rates), "images/s")
    report.figure(f"{name}_p95", statistics.median(theirs_ms), "ms")
    report.figure(f"{name}_platform_p95", statistics.median(ours_ms), "ms")
    report.figure(f"images_platform_over_{name}", ratio, "ratio")
    return ratio


async def _both(
    asked: list[dict[str, Any]], name: str, port: int, ready: dict[str, Any]
) -> tuple[traffic.Served, traffic.Served]:
    async with httpx.AsyncClient(timeout=600, trust_env=False) as client:

        async def draw(request: dict[str, Any]) -> None:
            body = {"requests": [request]} if name == "bentoml" else request
            answer = (await client.post(f"http://127.0.0.1:{port}/draw", json=body)).raise_for_status().json()
            answer = answer[0] if name == "bentoml" else answer
            if not answer["png"]:
                raise RuntimeError(f"{name} drew nothing")

        theirs = await traffic.serve(asked, draw)
    headers = {"X-API-Key": unbounded_key(ready)}
    async with httpx.AsyncClient(base_url=ready["url"], headers=headers, timeout=600, trust_env=False) as client:
        models = (await client.get("/v1/models")).raise_for_status().json()["models"]
        ids = {model["name"]: model["id"] for model in models}
        ours = await traffic.serve(asked, lambda request: _draw(client, ids, request))
    return theirs, ours


async def _draw(client: httpx.AsyncClient, ids: dict[str, str], request: dict[str, Any]) -> None:
    body = {
        "positive_prompt": request["prompt"],
        "model_id": ids[request["lora"]],
        "lora_weight": request["weight"],
        "guidance": request["guidance"],
        "steps": request["steps"],
        "seed": request["seed"],
        "width": request["side_px"],
        "height": request["side_px"],
    }
    submitted = await client.post("/v1/generate", json=body, headers={"Prefer": "wait=60"})
    answer = submitted.raise_for_status().json()
    if answer["status"] != "completed":
        raise RuntimeError(f"the run ended {answer['status']}")
    (await client.get(answer["image_url"])).raise_for_status()


@contextmanager
def _server(name: str, weights: Path) -> Iterator[int]:
    """A framework's server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, *(part.format(port=port) for part in _COMMANDS[name])]
    environment = {
        **os.environ,
        FOLDER: str(weights),
        "OMP_NUM_THREADS": os.environ.get(THREADS, "1"),
        THREADS: os.environ.get(THREADS, "1"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "BENTOML_DO_NOT_TRACK": "true",
    }
    with (
        Path(f".imagineo/bench/serving_{name}.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            _wait_until_it_draws(name, port, process)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_until_it_draws(name: str, port: int, process: subprocess.Popen[bytes]) -> None:
    request = traffic.requests(0)[0]
    body = {"requests": [request]} if name == "bentoml" else request
    deadline_s, last = time.monotonic() + _START_WITHIN_S, "nothing listens"
    with httpx.Client(timeout=120, trust_env=False) as client:
        while time.monotonic() < deadline_s and process.poll() is None:
            try:
                answer = client.post(f"http://127.0.0.1:{port}/draw", json=body)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.is_success:
                return
            last = f"{answer.status_code} {answer.text[:200]}"
            time.sleep(0.2)
    raise RuntimeError(f"{name} does not draw: {last}")
