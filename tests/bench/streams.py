"""Event streams: what 2,000 of them cost one gateway, each on a run of its own and all on one run."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.bench.load import Plan, send
from tests.bench.platform import cpu_s, platform, processes, pss_mb, unbounded_key
from tests.bench.report import Report
from tests.bench.submit import _model_id, _plan

_STREAMS = 2_000
_IDLE_S = 10.0
#: So many are opened at a time, as clients come.
_OPENING = 50


def run(report: Report) -> None:
    """Print the figures of open streams."""
    with platform(workers=0) as ready:
        key = unbounded_key(ready)
        submit = _plan(ready["url"], key, _model_id(ready["url"], key))
        send(Plan(**{**submit.__dict__, "requests": _STREAMS}))
        run_ids = asyncio.run(_run_ids(ready["url"], key))
        members = processes(ready)
        report.figure("streams_gateway_memory_before", pss_mb(members["gateway"]), "MB")
        for name, followed in {"own": run_ids, "shared": run_ids[:1] * _STREAMS}.items():
            asyncio.run(_measure(report, name, ready, key, followed))


async def _measure(report: Report, name: str, ready: dict[str, Any], key: str, run_ids: list[str]) -> None:
    members, gate = processes(ready), asyncio.Semaphore(_OPENING)
    opened = await asyncio.gather(*(_open(ready["url"], key, run_id, gate) for run_id in run_ids))
    delays_ms = [delay_s * 1e3 for delay_s, _ in opened]
    report.figure(f"streams_{name}_count", len(opened), "streams", at_least=_STREAMS)
    report.figure(f"streams_{name}_first_event_p50_ms", statistics.median(delays_ms), "ms")
    spent = {program: cpu_s(members[program]) for program in ("gateway", "status")}
    await asyncio.sleep(_IDLE_S)
    report.figure(f"streams_{name}_gateway_memory", pss_mb(members["gateway"]), "MB", at_most=400)
    for program, before_s in spent.items():
        report.figure(f"streams_{name}_idle_{program}_cpu", (cpu_s(members[program]) - before_s) / _IDLE_S, "cores")
    for _, writer in opened:
        writer.close()


async def _open(url: str, key: str, run_id: str, gate: asyncio.Semaphore) -> tuple[float, asyncio.StreamWriter]:
    """Open one stream and wait for its first event; the time it took, and the connection that keeps it."""
    place = urlsplit(url)
    async with gate:
        started_s = time.perf_counter()
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        head = f"GET /v1/generations/{run_id}/events HTTP/1.1\r\nHost: {place.netloc}\r\nX-API-Key: {key}\r\n\r\n"
        writer.write(head.encode())
        await reader.readuntil(b"event: snapshot\n")
        return time.perf_counter() - started_s, writer


async def _run_ids(url: str, key: str) -> list[str]:
    found: list[str] = []
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, trust_env=False, timeout=30) as client:
        cursor: dict[str, str] = {}
        while len(found) < _STREAMS:
            page = (await client.get("/v1/generations", params={"limit": 100, **cursor})).json()
            found += [run["run_id"] for run in page["generations"]]
            cursor = {"cursor": page["next_cursor"]}
    return found
