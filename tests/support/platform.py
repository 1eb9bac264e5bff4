"""The local platform as a user starts it, `python -m deploy.local`, and what tests do to it: accounts, kills, restarts.

What it says over REST is `rest.py`'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
import psutil
from imagineo.v1 import account_pb2, auth_service_pb2, auth_service_pb2_grpc

from tests.support.deadlines import SURELY_S
from tests.support.rest import Account
from tests.support.servers import halt

Answer = TypeVar("Answer")
REPOSITORY = Path(__file__).parents[2]
START_WITHIN_S = 400.0
STOP_WITHIN_S = 90.0
UNBOUNDED = 10**9
PLANS = {
    "free": account_pb2.PLAN_FREE,
    "basic": account_pb2.PLAN_BASIC,
    "premium": account_pb2.PLAN_PREMIUM,
}


def eventually(check: Callable[[], Answer], *, within_s: float, what: str) -> Answer:
    """Ask again until the answer is true; it is the bound on an event that announces itself nowhere."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := check():
            return answer
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


class Platform:
    """One platform in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.ready_file = folder / "ready.json"
        # Such as `--weights DIR`, to try other models.
        self._options = (*options, *os.environ.get("IMAGINEO_TEST_OPTIONS", "").split())
        self.process: subprocess.Popen[str] | None = None
        self.printed: list[str] = []

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        places = ["--port", "0", "--data", str(self.data), "--ready-file", str(self.ready_file)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", *places, *self._options],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watchdog = _Watchdog(self.process)
        assert self.process.stdout is not None
        with watchdog:
            for line in self.process.stdout:
                self.printed.append(line.rstrip())
                if line.startswith("Ready."):
                    break
        if not self.ready_file.exists():
            self.process.kill()
            self.process.communicate()
            raise RuntimeError("the platform did not start:\n" + "\n".join(self.printed))

    @property
    def ready(self) -> dict[str, Any]:
        """What the ready file says now."""
        content: dict[str, Any] = json.loads(self.ready_file.read_text())
        return content

    def pid(self, name: str) -> int:
        """The process of a program, as it is now."""
        return int(self.ready["pids"][name][0])

    def kill(self, name: str) -> int:
        """SIGKILL a program and wait until the supervisor has started it again; gives the new process."""
        dead = self.pid(name)
        os.kill(dead, signal.SIGKILL)
        eventually(lambda: self.pid(name) != dead, within_s=SURELY_S, what=f"{name} is started again")
        return self.pid(name)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Halt a program and its children: their sockets stay open and nobody answers."""
        parent = psutil.Process(self.pid(name))
        members = [parent, *parent.children(recursive=True)]
        halt(members)
        try:
            yield
        finally:
            for member in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.resume()

    @contextlib.contextmanager
    def kept_down(self, name: str) -> Iterator[None]:
        """Kill a program and keep it from being started again: at the first line of the block nobody serves any more.

        The supervisor is halted meanwhile; it starts the program again once the block is left.
        """
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        halt([supervisor])
        try:
            parent = psutil.Process(self.pid(name))
            halt([parent])  # it has no more children than are listed
            members = [parent, *parent.children(recursive=True)]
            for member in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            eventually(
                lambda: not any(map(_serves, members)), within_s=SURELY_S, what=f"{name} and its children are dead"
            )
            yield
        finally:
            supervisor.resume()

    def is_whole(self) -> bool:
        """Tell whether the gateway reaches all that it speaks to, what it can do without too."""
        try:
            dependencies = httpx.get(f"{self.ready['url']}/readyz", timeout=5, trust_env=False).json()["dependencies"]
        except httpx.TransportError:
            return False
        return all(found["ok"] for found in dependencies.values())

    def account(self, plan: str = "premium", **limits: int) -> Account:
        """A new organization with a key; a limit of 0 is the plan's own, one that is not named is out of reach."""
        return new_account(self.ready, plan, **limits)

    def revoke(self, account: Account) -> None:
        """End the account's key."""
        with grpc.insecure_channel(self.ready["grpc"]["auth"]) as channel:
            auth = auth_service_pb2_grpc.AuthServiceStub(channel)
            request = auth_service_pb2.RevokeKeyRequest(organization_id=account.organization_id, key_id=account.key_id)
            auth.RevokeKey(request, timeout=10)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Every process by program name, children included, and the supervisor."""
        assert self.process is not None
        members = {"supervisor": [psutil.Process(self.process.pid)]}
        for name, pids in self.ready["pids"].items():
            parents = [psutil.Process(pid) for pid in pids]
            members[name] = parents + [child for parent in parents for child in parent.children(recursive=True)]
        return members

    def logs(self) -> str:
        """All logs of all programs."""
        return "\n".join(path.read_text(errors="replace") for path in sorted((self.data / "logs").glob("*.log")))

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self.process.communicate(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
        self.printed += rest.splitlines()
        return self.process.returncode


def new_account(ready: dict[str, Any], plan: str = "premium", **limits: int) -> Account:
    """As `Platform.account`, by what a ready file says."""
    unbounded = {"requests_per_minute": UNBOUNDED, "images_per_month": UNBOUNDED, "queued_runs": UNBOUNDED}
    numbers = account_pb2.Limits(**(unbounded | limits))
    with grpc.insecure_channel(ready["grpc"]["auth"]) as channel:
        auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        request = auth_service_pb2.CreateOrganizationRequest(name="Test", plan=PLANS[plan])
        owner = auth.CreateOrganization(request, timeout=10).organization.organization_id
        change = auth_service_pb2.UpdateOrganizationRequest(organization_id=owner, limits=numbers)
        auth.UpdateOrganization(change, timeout=10)
        key = auth.CreateKey(auth_service_pb2.CreateKeyRequest(organization_id=owner, name="test"), timeout=10)
    return Account(ready["url"], key.secret, organization_id=owner, key_id=key.key.key_id)


def _serves(process: psutil.Process) -> bool:
    """Tell whether a process still lives; a dead one that its halted parent cannot reap serves nobody."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class _Watchdog:
    """Kills a process that does not say what is waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:

        self._timer = threading.Timer(START_WITHIN_S, process.kill)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


@contextlib.contextmanager
def platform(*options: str) -> Iterator[Platform]:
    """A running platform in a fresh folder, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="imagineo-platform-"))
    running = Platform(folder, *options)
    try:
        running.start()
        yield running
    finally:
        if running.process and running.process.poll() is None:
            running.stop()
        if running.process and running.process.stdout:
            running.process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def sha256(content: bytes) -> str:
    """The lower-case hexadecimal digest."""
    return hashlib.sha256(content).hexdigest()
