"""What a run costs the control plane, part by part: processor time, rows, write-ahead log, messages.

Submits are measured at a steady rate that leaves the platform half idle, so that few share a call: a fuller gateway is
cheaper. The rest of a run's way is measured with a worker that draws small pictures; what the worker spends is left
out.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import asyncpg
import httpx
import psutil

from tests.bench.load import send
from tests.bench.platform import cpu_s, platform, processes, unbounded_key
from tests.bench.report import Report
from tests.bench.submit import _checked, _model_id, _plan

_RATE_PER_S: Final = 250
_SUBMITS: Final = 250 * 12
_RUNS: Final = 150
_PARTS: Final = ("gateway", "auth", "catalog", "status", "webhooks", "postgres", "nats")
_STREAMS: Final = ("JOBS", "OUTCOMES", "EVENTS")


@dataclass(frozen=True)
class _Books:
    """What was spent so far."""

    cpu_s: dict[str, float]
    wal_bytes: int
    commits: int
    table_bytes: int
    messages: int
    message_bytes: int


def run(report: Report) -> None:
    """Print the costs of a submit, of the rest of a run's way, and of a look at it."""
    with platform(workers=0) as ready:
        key = unbounded_key(ready)
        plan = _plan(ready["url"], key, _model_id(ready["url"], key))
        _checked(send(replace(plan, requests=1_000)))
        before = _books(ready)
        _checked(send(replace(plan, rate_per_s=_RATE_PER_S, requests=_SUBMITS)))
        _tell(report, "submit", before, _books(ready), _SUBMITS)
        look = replace(plan, url=f"{ready['url']}/v1/generations/{_run_id(ready, key)}", method="GET", body="")
        before = _books(ready)
        _checked(send(replace(look, rate_per_s=_RATE_PER_S, requests=_SUBMITS)))
        _tell(report, "look", before, _books(ready), _SUBMITS)
        before = _books(ready)
        time.sleep(10)
        _tell(report, "idle_10_s", before, _books(ready), 1)
    with platform(workers=1) as ready:
        key = unbounded_key(ready)
        asyncio.run(_draw(ready, key, 10))
        before = _books(ready)
        asyncio.run(_draw(ready, key, _RUNS))
        _tell(report, "whole_run", before, _books(ready), _RUNS)


def _run_id(ready: dict[str, Any], key: str) -> str:
    answer = httpx.get(f"{ready['url']}/v1/generations?limit=1", headers={"X-API-Key": key}, trust_env=False)
    return str(answer.raise_for_status().json()["generations"][0]["run_id"])


async def _draw(ready: dict[str, Any], key: str, count: int) -> None:
    """Submit runs of one step all at once, and wait until they are drawn."""
    body = {
        "positive_prompt": "A blue ceramic coffee mug on a wooden table",
        "negative_prompt": "blurry, low quality",
        "model_id": _model_id(ready["url"], key),
        "lora_weight": 0.8,
        "guidance": 7.5,
        "width": 256,
        "height": 256,
        "steps": 1,
    }
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(base_url=ready["url"], headers=headers, timeout=60, trust_env=False) as client:
        answers = await asyncio.gather(*(client.post("/v1/generate", json=body) for _ in range(count)))
        left = [answer.raise_for_status().json()["run_id"] for answer in answers]
        connection = await asyncpg.connect(ready["postgres_dsn"])
        try:
            # Straight from the table, so that the waiting is nobody's cost but the database's.
            unfinished = "SELECT count(*) FROM status.unfinished WHERE run_id = ANY($1)"
            while await connection.fetchval(unfinished, left):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.5)
        finally:
            await connection.close()


def _tell(report: Report, name: str, before: _Books, after: _Books, count: int) -> None:
    for part in _PARTS:
        report.figure(f"{name}_cpu_{part}", (after.cpu_s[part] - before.cpu_s[part]) / count * 1e6, "us")
    report.figure(f"{name}_cpu", sum(after.cpu_s[p] - before.cpu_s[p] for p in _PARTS) / count * 1e6, "us")
    report.figure(f"{name}_wal", (after.wal_bytes - before.wal_bytes) / count, "bytes")
    report.figure(f"{name}_commits", (after.commits - before.commits) / count, "commits")
    report.figure(f"{name}_table_growth", (after.table_bytes - before.table_bytes) / count, "bytes")
    report.figure(f"{name}_stream_messages", (after.messages - before.messages) / count, "messages")
    report.figure(f"{name}_stream_bytes", (after.message_bytes - before.message_bytes) / count, "bytes")


def _books(ready: dict[str, Any]) -> _Books:
    members = processes(ready)
    spent = {part: _spent_s(members.get(part, [])) for part in _PARTS}
    wal, commits, tables = asyncio.run(_database(ready["postgres_dsn"]))
    messages, message_bytes = asyncio.run(_streams(ready["nats_url"]))
    return _Books(spent, wal, commits, tables, messages, message_bytes)


def _spent_s(members: list[psutil.Process]) -> float:
    return cpu_s([member for member in members if member.is_running()])


async def _database(dsn: str) -> tuple[int, int, int]:
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS wal, d.xact_commit AS commits,"
            " (SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'r'"
            " AND n.nspname IN ('auth', 'catalog', 'status', 'webhooks')) AS tables"
            " FROM pg_stat_database AS d WHERE d.datname = current_database()"
        )
    finally:
        await connection.close()
    return int(row["wal"]), int(row["commits"]), int(row["tables"])


async def _streams(url: str) -> tuple[int, int]:
    """Messages that the streams ever took, and the bytes of those that lie in them now."""
    import nats  # noqa: PLC0415 - the only benchmark that speaks it

    connection = await nats.connect(url)
    try:
        states = [
            json.loads((await connection.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=5)).data)["state"]
            for name in _STREAMS
        ]
    finally:
        await connection.close()
    return sum(state["last_seq"] for state in states), sum(state["bytes"] for state in states)
