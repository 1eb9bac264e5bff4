"""The program itself: it migrates, serves until SIGTERM, and says what is missing."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest
from imagineo.rpc.channel import connect
from imagineo.rpc.client import check_health
from imagineo.v1 import generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from tests.integration.status.conftest import StatusClient, submission
from tests.support.deadlines import STARTED_WITHIN_S

pytestmark = pytest.mark.integration


async def start(*arguments, **settings):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("IMAGINEO_")}
    environ |= {"PYTHONPATH": "libs:.", "IMAGINEO_STATUS_LOG_LEVEL": "INFO"}
    environ |= {f"IMAGINEO_STATUS_{name}": str(value) for name, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.status", *arguments, env=environ, stderr=asyncio.subprocess.PIPE
    )


async def ended(process):
    async with asyncio.timeout(STARTED_WITHIN_S):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def served(process, word):
    """Read the log until it says a word."""
    async with asyncio.timeout(STARTED_WITHIN_S):
        while word not in (line := (await process.stderr.readline()).decode()):
            assert line, "the process ended"


async def test_it_migrates_serves_and_ends_at_sigterm(dsn, nats, tmp_path):
    ports = tmp_path / "ports.json"
    settings = {
        "POSTGRES_DSN": dsn,
        "NATS_URL": nats.url,
        "BLOBS_URL": f"file://{tmp_path}",
        "LISTEN": "127.0.0.1:0",
        "PORTS_FILE": ports,
    }
    process = await start(**settings)
    try:
        await served(process, "not ready")  # no tables yet
        for _ in range(2):  # the second time there is nothing to do
            assert (await ended(await start("migrate", POSTGRES_DSN=dsn)))[0] == 0
        await served(process, '"ready"')
        port = json.loads(ports.read_text())["listen"]
        channel = connect(f"127.0.0.1:{port}")
        await check_health(channel)
        status = StatusClient(channel)
        [accepted] = await status.accept(submission())
        request = pb.WatchGenerationRequest(organization_id="org_1", run_id=accepted.run_id)
        watch = status.stub.WatchGeneration(request, timeout=30)
        assert (await watch.read()).generation.status == generation_pb2.STATUS_QUEUED
        process.terminate()
        code, said = await ended(process)
        assert (code, "Traceback" in said) == (0, False), said
        await channel.close(None)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_says_what_is_missing():
    code, said = await ended(await start())
    assert code == 2
    assert "POSTGRES_DSN" in said
    assert "NATS_URL" in said
