"""Which server the gateway stands on: uvicorn against granian, one worker each, the same Starlette POST in turns."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.bench.load import Plan, send
from tests.bench.platform import wait_for_port
from tests.bench.report import Report

_PAIRS = 5
_BODY = json.dumps({"positive_prompt": "A blue ceramic coffee mug on a wooden table", "width": 1024, "height": 1024})


async def _generate(request: Request) -> Response:
    msgspec.json.decode(await request.body())
    return Response(b'{"status":"queued"}', media_type="application/json")


app = Starlette(routes=[Route("/v1/generate", _generate, methods=["POST"])])

_COMMANDS = {
    "uvicorn": [
        "uvicorn",
        "tests.bench.http_server:app",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--log-level",
        "error",
        "--no-access-log",
    ],
    "granian": ["granian", "--interface", "asgi", "--loop", "uvloop", "--no-log", "tests.bench.http_server:app"],
}


def run(report: Report) -> None:
    """Print requests a second of both and their ratio."""
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(_serving(command)) for name, command in _COMMANDS.items()}
        plans = {
            name: Plan(f"{url}/v1/generate", "POST", {"Content-Type": "application/json"}, _BODY, 64, 20_000)
            for name, url in urls.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in plans}
        for _ in range(_PAIRS + 1):
            for name, plan in plans.items():
                rates[name].append(send(plan).requests_per_s)
        for name, measured in rates.items():
            report.figure(f"http_{name}_requests_per_s", statistics.median(measured[1:]), "1/s")
        ratios = [ours / other for ours, other in zip(rates["uvicorn"][1:], rates["granian"][1:], strict=True)]
        report.figure("http_uvicorn_to_granian", statistics.median(ratios), "ratio", at_least=1.0)


@contextlib.contextmanager
def _serving(command: list[str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", *command, "--port", str(port)])
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
