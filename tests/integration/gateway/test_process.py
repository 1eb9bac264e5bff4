"""The gateway as a process: it starts while everything is away, takes no endless body, and drains at SIGTERM."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.gateway_peers import platform

ROOT = Path(__file__).parents[3]
#: Nothing listens on the discard port.
NOWHERE = "127.0.0.1:9"


async def _started(process, ports: Path) -> dict:
    """Wait until the process has written its ports, by its own word on stderr or its end."""
    async with asyncio.timeout(30):
        while not ports.exists():
            assert process.returncode is None, (await process.stderr.read()).decode()
            await asyncio.sleep(0.02)
    return json.loads(ports.read_text())


@pytest.fixture
async def start(tmp_path):
    processes = []

    async def begin(**addresses):
        ports = tmp_path / "ports.json"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}/libs:{ROOT}",
            "IMAGINEO_LISTEN": "127.0.0.1:0",
            "IMAGINEO_METRICS_LISTEN": "127.0.0.1:0",
            "IMAGINEO_GATEWAY_PORTS_FILE": str(ports),
            "IMAGINEO_GATEWAY_SIGNING_KEY": "0123456789abcdef",
            "IMAGINEO_NATS_URL": f"nats://{NOWHERE}",
            "IMAGINEO_BLOBS_URL": f"file://{tmp_path}",
        }
        for name in ("auth", "catalog", "status", "webhooks"):
            environment[f"IMAGINEO_{name.upper()}_ADDRESS"] = addresses.get(name, NOWHERE)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.gateway", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
        )
        processes.append(process)
        return process, await _started(process, ports)

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_starts_while_everything_is_away_and_ends_cleanly(start):
    process, ports = await start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['listen']}", timeout=10) as client:
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        away = {name for name, found in ready.json()["dependencies"].items() if not found["ok"]}
        assert away == {"auth", "catalog", "status", "webhooks", "nats"}
        metrics = await client.get(f"http://127.0.0.1:{ports['metrics']}/metrics")
        assert 'imagineo_gateway_requests_total{method="GET",route="/healthz",status="200"} 1.0' in metrics.text
    process.send_signal(signal.SIGTERM)
    _, logged = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0
    assert '"route":"/readyz"' in logged.decode()


async def test_a_wait_in_flight_is_answered_at_sigterm(start):
    async with platform() as peers:
        addresses = {name: f"127.0.0.1:{port}" for name, port in peers.ports.items()}
        process, ports = await start(**addresses)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['listen']}", timeout=30) as client:
            body = {"positive_prompt": "a mug", "model_id": "model_06bqz0000000000000000000a0"}
            headers = {"X-API-Key": peers.auth.secret, "Prefer": "wait=60"}
            asking = asyncio.create_task(client.post("/v1/generate", json=body, headers=headers))
            await asyncio.wait_for(peers.status.on_watch.wait(), 10)
            process.send_signal(signal.SIGTERM)
            response = await asyncio.wait_for(asking, 10)
        assert (response.status_code, response.json()["status"]) == (200, "queued")
        await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 0


async def test_a_stream_is_told_to_come_back_at_sigterm(start):
    async with platform() as peers:
        addresses = {name: f"127.0.0.1:{port}" for name, port in peers.ports.items()}
        run_id = (await peers.generate()).json()["run_id"]
        process, ports = await start(**addresses)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['listen']}", timeout=30) as client:
            path, headers = f"/v1/generations/{run_id}/events", {"X-API-Key": peers.auth.secret}
            async with client.stream("GET", path, headers=headers) as response:
                lines = response.aiter_lines()
                async for line in lines:
                    if line.startswith("data: "):
                        break
                process.send_signal(signal.SIGTERM)
                rest = [line async for line in lines]
        assert "retry: 1000" in rest
        await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 0


async def _last_words(reader):
    """What the server said before it closed; where it left bytes of ours unread, the kernel adds a reset."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await asyncio.wait_for(reader.read(65_536), 10):
            answer += piece
    return answer


async def test_a_body_without_end_is_cut_off(start):
    async with platform() as peers:
        _, ports = await start(auth=f"127.0.0.1:{peers.ports['auth']}")
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["listen"])
        writer.write(
            b"POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            b"X-API-Key: " + peers.auth.secret.encode() + b"\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 20
        )
        answer = await _last_words(reader)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"body_too_large" in answer
        writer.close()


@pytest.mark.parametrize(
    ("head", "endless", "word"),
    [
        (b"GET /healthz HTTP/1.1\r\nX-Long: ", b"x" * 8_192, "headers are larger than 65536 bytes"),
        (b"GET /healthz HTTP/1.1\r\n", b"X-Many: 1\r\n" * 800, "headers are larger than 65536 bytes"),
        (b"GET /", b"x" * 8_192, "headers are larger than 65536 bytes"),
        (b"NOT HTTP AT ALL\r\n", b"", "Invalid HTTP request"),
    ],
)
async def test_what_is_no_http_or_has_headers_without_end_is_refused_and_cut_off(start, head, endless, word):
    _, ports = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["listen"])
    writer.write(head)
    for _ in range(12):
        writer.write(endless)
    answer = await _last_words(reader)
    writer.close()
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 400 ")
    error = json.loads(body)["error"]
    assert error["code"] == "invalid_parameter"
    assert word in error["message"]
    assert f"x-request-id: {error['request_id']}".encode() in top.lower()


async def test_pipelined_requests_with_bodies_are_no_long_head(start):
    _, ports = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["listen"])
    one = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    writer.write(one * 5 + last)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.count(b"HTTP/1.1 405 ") == 5
    assert answer.count(b"HTTP/1.1 200 ") == 1
