"""End to end on an idle platform: what REST submit → image available costs over the stock pipeline in a bare process.

The bare process loads the same base model with diffusers alone and draws the same request; the two take turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

import httpx

from tests.bench.platform import platform, unbounded_key
from tests.bench.report import Report

_PAIRS = 9
_REQUEST = {
    "positive_prompt": "a red apple",
    "negative_prompt": "blurry",
    "guidance": 7.5,
    "width": 64,
    "height": 64,
    "steps": 20,
}

_BARE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from diffusers import StableDiffusionPipeline
torch.set_num_threads(int(sys.argv[2]))
pipeline = StableDiffusionPipeline.from_pretrained(sys.argv[1], dtype=torch.float32, local_files_only=True)
pipeline.set_progress_bar_config(disable=True)
for line in sys.stdin:
    request = json.loads(line)
    started_s = time.perf_counter()
    pipeline(
        request["positive_prompt"], negative_prompt=request["negative_prompt"], guidance_scale=request["guidance"],
        width=request["width"], height=request["height"], num_inference_steps=request["steps"],
        generator=torch.Generator("cpu").manual_seed(request["seed"]),
    )
    print(time.perf_counter() - started_s, flush=True)
"""


def run(report: Report, base: str = "libs/starter/weights/base", threads: int = 1) -> None:
    """Print the figures of one picture, from submit to its bytes."""
    # The bare process gets the allocator settings that the platform's worker has, so that only the platform differs.
    environment = {
        **os.environ,
        "OMP_WAIT_POLICY": "passive",
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "1073741824",
        "MALLOC_TRIM_THRESHOLD_": "2147483648",
    }
    bare = subprocess.Popen(
        [sys.executable, "-c", _BARE, base, str(threads)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with bare, platform(workers=1) as ready, httpx.Client(base_url=ready["url"], timeout=90) as client:
        client.headers["X-API-Key"] = unbounded_key(ready)
        base_model_id = client.get("/v1/base-models").raise_for_status().json()["base_models"][0]["id"]
        ours_s: list[float] = []
        bare_s: list[float] = []
        for seed in range(_PAIRS + 2):
            request = {**_REQUEST, "seed": seed}
            bare_s.append(_draw_bare(bare, request))
            ours_s.append(_draw(client, {**request, "model_id": base_model_id}))
        bare.stdin.close()  # type: ignore[union-attr]
        costs_ms = [(ours - other) * 1e3 for ours, other in zip(ours_s[2:], bare_s[2:], strict=True)]
        report.figure("end_to_end_stock_pipeline_ms", statistics.median(bare_s[2:]) * 1e3, "ms")
        report.figure("end_to_end_platform_ms", statistics.median(ours_s[2:]) * 1e3, "ms")
        report.figure("end_to_end_cost_ms", statistics.median(costs_ms), "ms", at_most=60, aim=25)


def _draw(client: httpx.Client, request: dict[str, object]) -> float:
    started_s = time.perf_counter()
    answer = client.post("/v1/generate", json=request, headers={"Prefer": "wait=60"}).raise_for_status().json()
    if answer["status"] != "completed":
        raise RuntimeError(f"the run ended {answer['status']}")
    client.get(answer["image_url"]).raise_for_status()
    return time.perf_counter() - started_s


def _draw_bare(bare: subprocess.Popen[str], request: dict[str, object]) -> float:
    bare.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
    bare.stdin.flush()  # type: ignore[union-attr]
    return float(bare.stdout.readline())  # type: ignore[union-attr]
