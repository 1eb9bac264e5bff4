"""Replicas of services beside the local platform, started and ended as Kubernetes does: probes, SIGTERM, a grace time.

They share the platform's database, broker and store. `Endpoints` stands for a Service: it sends requests to whichever
replica was ready when it last looked, and learns late, as kube-proxy does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import psutil

from deploy.local import nats
from deploy.local.parts import WORKER_ENVIRONMENT
from tests.support.platform import REPOSITORY, Platform, eventually

READY_WITHIN_S = 240.0
# One client for all probes, on fresh connections as a kubelet's; one for each would read certificates each time.
_PROBES = httpx.Client(timeout=2, trust_env=False, verify=False, headers={"Connection": "close"})  # noqa: S501 - plain http


def environment(platform: Platform, service: str) -> dict[str, str]:
    """What a replica of a service is told: of one that the platform has, the same as that one."""
    ready = platform.ready
    if service in ready["grpc"]:
        return psutil.Process(platform.pid(service)).environ()
    gateways = psutil.Process(platform.pid("gateway")).environ()
    secrets = json.loads((platform.data / "secrets.json").read_text())
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **WORKER_ENVIRONMENT,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{REPOSITORY / 'libs'}:{REPOSITORY}",
        "IMAGINEO_LISTEN": "127.0.0.1:0",
        "IMAGINEO_METRICS_LISTEN": "127.0.0.1:0",
        "IMAGINEO_NATS_URL": f"nats://{ready['nats_url'].rpartition('@')[2]}",
        "IMAGINEO_NATS_USER": service,
        "IMAGINEO_NATS_PASSWORD": nats.password(service, secrets["nats_token"]),
        "IMAGINEO_POSTGRES_DSN": ready["postgres_dsn"],
        "IMAGINEO_PUBLIC_URL": ready["url"],
        **{f"IMAGINEO_{name}": gateways[f"IMAGINEO_GATEWAY_{name}"] for name in ("BLOBS_URL", "SIGNING_KEY")},
        **{f"IMAGINEO_{peer.upper()}_ADDRESS": address for peer, address in ready["grpc"].items()},
    }


class Pod:
    """One replica."""

    def __init__(self, platform: Platform, service: str, name: str, **settings: str) -> None:
        self.name = name
        folder = platform.folder / "pods" / name
        folder.mkdir(parents=True)
        self._ports_file = folder / "ports.json"
        self._log = folder / "log"
        prefix = f"IMAGINEO_{service.upper()}_"
        own = {"PORTS_FILE": str(self._ports_file), "METRICS_LISTEN": "127.0.0.1:0", **settings}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                env={**environment(platform, service), **{prefix + key: value for key, value in own.items()}},
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
            )

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens; empty before it does."""
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self._ports_file.read_text()))
        return {}

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.ports['listen']}"

    def is_ready(self) -> bool:
        """What the readiness probe says."""
        if self.process.poll() is not None or not self.ports:
            return False
        try:
            url = f"http://127.0.0.1:{self.ports['metrics']}/readyz"
            return _PROBES.get(url).status_code == 200
        except httpx.TransportError:
            return False

    def until_ready(self) -> Pod:
        """Wait for the readiness probe."""
        eventually(
            lambda: self.is_ready() or self.process.poll() is not None,
            within_s=READY_WITHIN_S,
            what=f"{self.name} is up",
        )
        assert self.process.poll() is None, f"{self.name} ended:\n{self.log[-2000:]}"
        return self

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self, grace_s: float) -> int:
        """Wait for its end; what is left after the grace period would be killed, and fails the test."""
        return self.process.wait(timeout=grace_s)

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Endpoints:
    """The replicas that requests go to. A replica that stops to be ready is known to all `lag_s` later."""

    def __init__(self, *, lag_s: float) -> None:
        self._lag_s = lag_s
        self._pods: dict[str, Pod] = {}
        self._urls: list[str] = []
        self._turn = itertools.count()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def add(self, pod: Pod) -> None:
        """Probe a replica from now on."""
        self._pods = {**self._pods, pod.name: pod}

    def url(self) -> str:
        """The next replica's address."""
        urls = self._urls
        return urls[next(self._turn) % len(urls)]

    def has(self, pod: Pod) -> bool:
        """Tell whether a replica gets requests."""
        return bool(pod.ports) and pod.url in self._urls

    def _watch(self) -> None:
        seen: list[tuple[float, list[str]]] = []
        while not self._over.wait(0.1):
            seen.append((time.monotonic(), [pod.url for pod in self._pods.values() if pod.is_ready()]))
            known_s = time.monotonic() - self._lag_s
            while len(seen) > 1 and seen[1][0] <= known_s:
                seen.pop(0)
            if seen[0][0] <= known_s:
                self._urls = seen[0][1]

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Keep them so while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()


@contextlib.contextmanager
def pods() -> Iterator[list[Pod]]:
    """A list of replicas, each of which is gone at the end."""
    started: list[Pod] = []
    try:
        yield started
    finally:
        for pod in started:
            pod.kill()
