"""The local platform and small helpers for the benchmarks: start it as a user does, make an account without limits."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
from imagineo.v1 import account_pb2, auth_service_pb2, auth_service_pb2_grpc

#: A limit that no benchmark reaches.
_UNBOUNDED = 10**9
#: A cold start migrates the databases and loads the model.
_START_TIMEOUT_S = 180.0


@contextlib.contextmanager
def platform(*, workers: int) -> Iterator[dict[str, Any]]:
    """Start `python -m deploy.local` on a fresh folder and yield what its ready file says."""
    with tempfile.TemporaryDirectory(prefix="imagineo-bench-") as folder:
        Path(folder).chmod(0o755)
        ready = Path(folder, "ready.json")
        options = ["--port", "0", "--data", f"{folder}/data", "--workers", str(workers), "--ready-file", str(ready)]
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", *options, "--no-first-image"], stdout=subprocess.DEVNULL
        )
        try:
            wait_for(ready, process)
            yield json.loads(ready.read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Wait until `process` has written `path`."""
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError("the local platform did not start")
        time.sleep(0.1)


def unbounded_key(ready: dict[str, Any]) -> str:
    """Make a premium account whose limits are out of reach, and a key for it."""
    with grpc.insecure_channel(ready["grpc"]["auth"]) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        request = auth_service_pb2.CreateOrganizationRequest(name="Benchmark", plan=account_pb2.PLAN_PREMIUM)
        organization_id = stub.CreateOrganization(request).organization.organization_id
        limits = account_pb2.Limits(requests_per_minute=_UNBOUNDED, images_per_month=_UNBOUNDED, queued_runs=_UNBOUNDED)
        stub.UpdateOrganization(
            auth_service_pb2.UpdateOrganizationRequest(organization_id=organization_id, limits=limits)
        )
        key = stub.CreateKey(auth_service_pb2.CreateKeyRequest(organization_id=organization_id, name="benchmark"))
        return str(key.secret)


def processes(ready: dict[str, Any]) -> dict[str, list[psutil.Process]]:
    """The platform's processes by name, their children included."""
    found: dict[str, list[psutil.Process]] = {}
    for name, pids in ready["pids"].items():
        parents = [psutil.Process(pid) for pid in pids]
        found[name] = parents + [child for parent in parents for child in parent.children(recursive=True)]
    return found


def pss_mb(members: list[psutil.Process]) -> float:
    """Memory in MB; pages that several processes share are divided between them."""
    return float(sum(member.memory_full_info().pss for member in members)) / 1e6


def cpu_s(members: list[psutil.Process]) -> float:
    """Processor seconds spent so far."""
    return float(sum(sum(member.cpu_times()[:2]) for member in members))
