"""The local platform for the benchmarks, started as a user does, and what its processes spend."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil

from tests.support import platform as local


@contextlib.contextmanager
def platform(*, workers: int) -> Iterator[dict[str, Any]]:
    """Start `python -m deploy.local` on a fresh folder and yield what its ready file says."""
    with local.platform("--workers", str(workers), "--no-first-image") as running:
        yield running.ready


def unbounded_key(ready: dict[str, Any]) -> str:
    """Make a premium account whose limits are out of reach, and a key for it."""
    with local.new_account(ready) as account:
        return account.key


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


def wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Wait until `process` listens on a loopback port.

    Raises:
        RuntimeError: if it ended or did not listen within 30 s.
    """
    deadline_s = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"nothing listens on port {port}")
        time.sleep(0.05)
