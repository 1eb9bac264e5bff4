"""A rolling upgrade: two gateways and two workers under load, each replaced by SIGTERM once its successor is ready.

No request fails, not even one on a connection kept open, and no run is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import platform as local
from tests.support.platform import Platform
from tests.support.replicas import Endpoints, Pod, pods
from tests.support.rest import TERMINAL, Account

#: How long it takes until all who send requests know that a replica is not ready any more.
LAG_S = 1.0
#: Longer than that: the gateways go on meanwhile.
DELAY_S = 2.0
DRAIN_S = 10
WORKER_DRAIN_S = 20
CLIENTS = 4


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """A platform whose workers and gateways are brought by the test; its own gateway gets no requests."""
    with local.platform("--no-first-image", "--workers", "0") as running:
        yield running


class Client(threading.Thread):
    """Submits and polls, one request after the other, on kept connections, and tries nothing again."""

    def __init__(self, account: Account, endpoints: Endpoints, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._endpoints = endpoints
        self._body = body
        self._http = httpx.Client(headers={"X-API-Key": account.key}, timeout=30, trust_env=False)
        self.over = threading.Event()
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self.requests_count = 0

    def run(self) -> None:
        with self._http:
            while not self.over.is_set():
                submitted = self._ask("POST", "/v1/generate", json=self._body)
                if submitted is None:
                    continue
                self.accepted.append(submitted["run_id"])
                status = "queued"
                while status not in TERMINAL and not self.over.is_set():
                    run = self._ask("GET", f"/v1/generations/{submitted['run_id']}")
                    status = run["status"] if run else status

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, str] | None:
        url = self._endpoints.url() + path
        self.requests_count += 1
        try:
            answer = self._http.request(method, url, **options)
        except httpx.HTTPError as problem:
            self.failures.append(f"{method} {url}: {problem!r}")
            return None
        if answer.status_code != 200:
            self.failures.append(f"{method} {url}: {answer.status_code} {answer.text}")
            return None
        return dict(answer.json())


def under_load(clients: list[Client]) -> None:
    """Wait until each client has come on: requests of all of them, and a run more."""
    before = [(client.requests_count, len(client.accepted)) for client in clients]

    def all_came_on() -> bool:
        return all(
            client.requests_count > requests + 10 and len(client.accepted) > runs
            for client, (requests, runs) in zip(clients, before, strict=True)
        )

    local.eventually(all_came_on, within_s=60, what="the load goes on")


class Rollout:
    """What a Deployment's controller does."""

    def __init__(self, platform: Platform, started: list[Pod]) -> None:
        self._platform = platform
        self._started = started
        self.endpoints = Endpoints(lag_s=LAG_S)

    def gateway(self, name: str) -> Pod:
        return self._start("gateway", name, DRAIN_DELAY_S=str(DELAY_S), DRAIN_S=str(DRAIN_S))

    def worker(self, name: str) -> Pod:
        cache = self._platform.folder / "cache" / name
        return self._start("worker", name, WORKER_ID=name, CACHE_DIR=str(cache), DRAIN_S=str(WORKER_DRAIN_S))

    def _start(self, service: str, name: str, **settings: str) -> Pod:
        pod = Pod(self._platform, service, name, **settings)
        self._started.append(pod)
        if service == "gateway":
            self.endpoints.add(pod)
        return pod

    def knows(self, pod: Pod) -> None:
        local.eventually(lambda: self.endpoints.has(pod), within_s=10, what=f"{pod.name} gets requests")


@pytest.mark.timeout(900)  # eight programs start beside the platform, four of them with torch
def test_replacing_gateways_and_workers_one_by_one_fails_no_request_and_loses_no_run(platform: Platform) -> None:
    with pods() as started, platform.account() as account:
        rollout = Rollout(platform, started)
        gateways = [rollout.gateway(f"gateway-{number}") for number in (1, 2)]
        workers = [rollout.worker(f"worker-{number}") for number in (1, 2)]
        clients = [Client(account, rollout.endpoints, account.body()) for _ in range(CLIENTS)]
        with rollout.endpoints.watched():
            for pod in (*gateways, *workers):
                pod.until_ready()
            for pod in gateways:
                rollout.knows(pod)
            for client in clients:
                client.start()
            under_load(clients)

            for old in gateways:
                rollout.knows(rollout.gateway(f"{old.name}-new").until_ready())
                old.terminate()
                assert old.ended(DELAY_S + DRAIN_S + 10) == 0, old.log[-2000:]
                under_load(clients)
            for old in workers:
                rollout.worker(f"{old.name}-new").until_ready()
                old.terminate()
                assert old.ended(WORKER_DRAIN_S + 10) == 0, old.log[-2000:]
                under_load(clients)

            for client in clients:
                client.over.set()
            for client in clients:
                client.join()

        assert not [failure for client in clients for failure in client.failures]
        runs = [run_id for client in clients for run_id in client.accepted]
        assert [account.until(run_id)["status"] for run_id in runs] == ["completed"] * len(runs)
        requests_count = sum(client.requests_count for client in clients)
        print(f"{requests_count} requests, {len(runs)} runs, 4 replicas replaced: none failed, none lost")
