"""Latency where requests come at random times, 0.8 of what the usual way can draw at most; 8x8 latents, one core."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.worker.engine.base import DrawRequest
from tests.bench.engine_parts.place import PAIRS, Draw, Place, one_core, percentile, timed, traffic
from tests.bench.report import Report

#: So many that the queue of the usual way grows as long as this load makes it: from an empty start it takes minutes.
REQUESTS = 96
LOAD_RATIO = 0.8


@dataclass
class Waits:
    """Seconds from when each request was due."""

    first_steps: list[float] = field(default_factory=list)
    pictures: list[float] = field(default_factory=list)


#: Draws a request, and calls when its first step is made.
DrawNoting = Callable[[DrawRequest, Callable[[], None]], Awaitable[object]]


def measure(report: Report, place: Place) -> None:
    """Each pair draws the same requests at the same times, ours and the usual way."""
    with one_core(), place.usual(place.files) as usual, ThreadPoolExecutor(1) as thread:
        warm = traffic(place.files, 64, seed=2)
        place.together(warm)
        usual(warm[0])
        capacity_per_s = len(warm) / timed(lambda: [usual(one) for one in warm])
        report.figure("usual_capacity", capacity_per_s, "images/s")
        latencies, first_waits = [], []
        for pair in range(PAIRS):
            requests = traffic(place.files, 64, REQUESTS, seed=10 + pair)
            gaps = random.Random(pair)  # noqa: S311 - it makes up arrivals
            times_s = [gaps.expovariate(LOAD_RATIO * capacity_per_s) for _ in requests]
            theirs = asyncio.run(_arrive(requests, times_s, _usual_noting(usual, thread)))
            ours = asyncio.run(_arrive(requests, times_s, _ours_noting(place)))
            latencies.append(percentile(theirs.pictures, 0.95) / percentile(ours.pictures, 0.95))
            first_waits.append(percentile(theirs.first_steps, 0.95) / percentile(ours.first_steps, 0.95))
            report.figure(f"latency_p95_ours_{pair}", percentile(ours.pictures, 0.95) * 1000, "ms")
            report.figure(f"latency_p95_usual_{pair}", percentile(theirs.pictures, 0.95) * 1000, "ms")
    report.figure("latency_p95_usual_over_ours", statistics.median(latencies), "ratio", at_least=2, aim=4)
    report.figure("first_step_p95_usual_over_ours", statistics.median(first_waits), "ratio", at_least=20, aim=50)


async def _arrive(requests: list[DrawRequest], gaps_s: list[float], draw: DrawNoting) -> Waits:
    waits = Waits()

    async def serve(request: DrawRequest, due_s: float) -> None:
        await draw(request, lambda: waits.first_steps.append(time.perf_counter() - due_s))
        waits.pictures.append(time.perf_counter() - due_s)

    serving, due_s = [], time.perf_counter()
    for request, gap_s in zip(requests, gaps_s, strict=True):
        due_s += gap_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        serving.append(asyncio.create_task(serve(request, due_s)))
    await asyncio.gather(*serving)
    return waits


def _usual_noting(usual: Draw, thread: ThreadPoolExecutor) -> DrawNoting:
    def work(request: DrawRequest, note: Callable[[], None]) -> None:
        usual(request, lambda step: note() if step == 0 else None)

    async def draw(request: DrawRequest, note: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, work, request, note)

    return draw


def _ours_noting(place: Place) -> DrawNoting:
    async def draw(request: DrawRequest, note: Callable[[], None]) -> None:
        noted: list[bool] = []

        def on_progress(_: object) -> None:
            if not noted:
                noted.append(True)
                note()

        await place.draw(request, on_progress)

    return draw
