"""The gateway as a process: it starts while everything is away, takes no endless body, and drains at SIGTERM."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from services.gateway.http_protocol import LINGER_BYTES, LINGER_S
from tests.support import node
from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S
from tests.support.gateway_peers import platform

ROOT = Path(__file__).parents[3]
#: Nothing listens on the discard port.
NOWHERE = "127.0.0.1:9"


async def _started(process, ports: Path) -> dict:
    """Wait until the process has written its ports, by its own word on stderr or its end."""
    async with asyncio.timeout(STARTED_WITHIN_S):
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
    _, logged = await asyncio.wait_for(process.communicate(), STARTED_WITHIN_S)
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
            await asyncio.wait_for(peers.status.on_watch.wait(), SURELY_S)
            process.send_signal(signal.SIGTERM)
            response = await asyncio.wait_for(asking, SURELY_S)
        assert (response.status_code, response.json()["status"]) == (200, "queued")
        await asyncio.wait_for(process.communicate(), STARTED_WITHIN_S)
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
        await asyncio.wait_for(process.communicate(), STARTED_WITHIN_S)
        assert process.returncode == 0


FETCH = """
const [url, key] = process.argv.slice(1);
const headers = { "X-API-Key": key, "Content-Type": "application/x-ndjson" };
const answer = await fetch(url, { method: "POST", headers, body: new Uint8Array(64 * 2 ** 20) });
console.log(answer.status, (await answer.json()).error.code);
"""


async def test_who_sends_too_much_hears_the_refusal_over_what_is_still_being_sent(start):
    async with platform() as peers:
        _, ports = await start(auth=f"127.0.0.1:{peers.ports['auth']}")
        url, key = f"http://127.0.0.1:{ports['listen']}/v1/batches", peers.auth.secret
        headers = {"X-API-Key": key, "Content-Type": "application/x-ndjson"}
        for _ in range(2):
            # A connection each: it cannot be used again.
            async with httpx.AsyncClient(timeout=20) as client:
                answer = await client.post(url, content=bytes(64 * 2**20), headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
            assert answer.headers["connection"] == "close"
            fetched = await asyncio.to_thread(node.ran, "node", "--input-type=module", "-e", FETCH, url, key)
            assert fetched == "413 body_too_large\n"


async def _send(writer, size_bytes, sent_bytes):
    while sent_bytes[0] < size_bytes:
        writer.write(bytes(2**20))
        await writer.drain()
        sent_bytes[0] += 2**20


async def test_who_goes_on_sending_after_the_refusal_is_cut_off(start):
    async with platform() as peers:
        _, ports = await start(auth=f"127.0.0.1:{peers.ports['auth']}")
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["listen"])
        writer.write(
            b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n"
            b"X-API-Key: %s\r\n\r\n" % (2 * LINGER_BYTES, peers.auth.secret.encode())
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        sent_bytes = [0]
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_send(writer, 2 * LINGER_BYTES, sent_bytes), 30)
        assert sent_bytes[0] >= LINGER_BYTES
        writer.close()


async def test_a_body_without_end_is_cut_off(start):
    async with platform() as peers:
        _, ports = await start(auth=f"127.0.0.1:{peers.ports['auth']}")
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["listen"])
        writer.write(
            b"POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            b"X-API-Key: " + peers.auth.secret.encode() + b"\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 20
        )
        answer = await asyncio.wait_for(reader.read(), LINGER_S - 5)
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
    answer = await asyncio.wait_for(reader.read(), LINGER_S - 5)
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
    answer = await asyncio.wait_for(reader.read(), LINGER_S - 5)
    writer.close()
    assert answer.count(b"HTTP/1.1 405 ") == 5
    assert answer.count(b"HTTP/1.1 200 ") == 1
