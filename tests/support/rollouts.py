"""Rollouts under load: what Deployments' controllers do, clients that try nothing again, a reader of a live stream."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import httpx

from tests.support import platform as local
from tests.support.deadlines import SURELY_S
from tests.support.event_streams import taken_apart
from tests.support.platform import Platform
from tests.support.receiver import Listening, listening
from tests.support.replicas import Endpoints, Pod
from tests.support.rest import TERMINAL, Account
from tests.support.servers import free_port

#: How long it takes until all who send requests know that a replica is not ready any more.
LAG_S = 1.0
#: Longer than that: the gateways go on meanwhile.
DELAY_S = 2.0
DRAIN_S = 10
WORKER_DRAIN_S = 20
CLIENTS = 4
CONTROL = ("auth", "catalog", "status", "webhooks")
#: Ends long after everything was replaced, if nobody cancels it.
LONG = {"width": 1024, "height": 1024, "steps": 100}


class Client(threading.Thread):
    """Submits, polls and reads, one request after the other, on kept connections, and tries nothing again."""

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
                for path in ("/v1/models", "/v1/webhooks"):
                    self._ask("GET", path)
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


class Follower(threading.Thread):
    """Reads a run's events to the terminal one; where a stream ends before, it comes back with the last id."""

    def __init__(self, account: Account, endpoints: Endpoints, run_id: str) -> None:
        super().__init__(daemon=True)
        self._account = account
        self._endpoints = endpoints
        self._path = f"/v1/generations/{run_id}/events"
        self.run_id = run_id
        self.last_id = ""
        self.versions: list[int] = []
        self.failures: list[str] = []
        self.streams_count = 0
        self.status = ""

    def has_begun(self) -> None:
        """Wait until it has read something."""
        local.eventually(lambda: self.versions or self.failures, within_s=60, what="the stream begins")

    def ends(self) -> None:
        """Cancel the run, and wait until the stream has told so."""
        self._account.post(f"/v1/generations/{self.run_id}/cancel")
        self.join(60)
        assert self.failures == []
        assert self.status in TERMINAL
        assert self.versions == sorted(set(self.versions)), "an event came twice"

    def run(self) -> None:
        headers = {"X-API-Key": self._account.key}
        with httpx.Client(timeout=30, trust_env=False) as http:
            while self.status not in TERMINAL and not self.failures:
                self.streams_count += 1
                last = {"Last-Event-ID": self.last_id} if self.versions else {}
                try:
                    with http.stream("GET", self._endpoints.url() + self._path, headers=headers | last) as answer:
                        self._read(answer)
                except httpx.HTTPError as problem:
                    self.failures.append(repr(problem))

    def _read(self, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            self.failures.append(f"{answer.status_code} {answer.read().decode()}")
            return
        block: dict[str, Any] = {}
        pending = ""
        for text in answer.iter_text():
            *blocks, pending = (pending + text).split("\n\n")
            for block in map(taken_apart, blocks):
                self._note(block)
        if self.status not in TERMINAL and "retry" not in block:
            self.failures.append(f"the stream ended with {block}: nobody said to come back")

    def _note(self, block: dict[str, Any]) -> None:
        if "id" in block:
            self.last_id = block["id"]
            self.versions.append(int(self.last_id.rpartition(":")[2]))
            self.status = block["data"]["status"]


class Rollout:
    """What Deployments' controllers do, and the load meanwhile."""

    def __init__(self, platform: Platform, account: Account, started: list[Pod]) -> None:
        self.platform = platform
        self.account = account
        self._started = started
        self.endpoints = Endpoints(lag_s=LAG_S)
        #: Where replicas of the control services listen beside the platform's own: one, and the next.
        self._ports = {name: [free_port(), free_port()] for name in CONTROL}
        #: What stands for each service, as a Service without an address of its own does.
        self._addresses = {
            f"{name.upper()}_ADDRESS": "ipv4:" + ",".join([own, *(f"127.0.0.1:{port}" for port in self._ports[name])])
            for name, own in platform.ready["grpc"].items()
        }

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Two of each: gateways, workers, and beside the platform's own control services one more."""
        self.gateways = [self.gateway(f"gateway-{number}") for number in (1, 2)]
        self.workers = [self.worker(f"worker-{number}") for number in (1, 2)]
        self.controls = {name: self.control(name) for name in CONTROL}
        with self.endpoints.watched():
            for pod in (*self.controls.values(), *self.gateways, *self.workers):
                pod.until_ready()
            for pod in self.gateways:
                self.knows(pod)
            yield

    def follower(self) -> Follower:
        """Somebody who follows a run that ends when it is canceled."""
        follower = Follower(self.account, self.endpoints, self.account.submit(**LONG))
        follower.start()
        follower.has_begun()
        return follower

    def gateway(self, name: str) -> Pod:
        pod = self._start("gateway", name, DRAIN_DELAY_S=str(DELAY_S), DRAIN_S=str(DRAIN_S))
        self.endpoints.add(pod)
        return pod

    def worker(self, name: str) -> Pod:
        cache = self.platform.folder / "cache" / name
        return self._start("worker", name, WORKER_ID=name, CACHE_DIR=str(cache), DRAIN_S=str(WORKER_DRAIN_S))

    def control(self, service: str) -> Pod:
        """The next replica of a service; the platform's own is another, and ends and comes back at its port."""
        port = self._ports[service].pop()
        return self._start(service, f"{service}-{port}", LISTEN=f"127.0.0.1:{port}")

    def _start(self, service: str, name: str, **settings: str) -> Pod:
        pod = Pod(self.platform, service, name, **self._addresses, **settings)
        self._started.append(pod)
        return pod

    def knows(self, pod: Pod) -> None:
        local.eventually(lambda: self.endpoints.has(pod), within_s=SURELY_S, what=f"{pod.name} gets requests")

    def replace_own(self, service: str) -> None:
        """SIGTERM to the platform's own replica: its supervisor starts it again at its port."""
        old = self.platform.pid(service)
        os.kill(old, signal.SIGTERM)
        local.eventually(lambda: self.platform.pid(service) != old, within_s=30, what=f"{service} is started again")
        ready_url = self.platform.ready["metrics"][service].replace("/metrics", "/readyz")
        local.eventually(lambda: _answers(ready_url), within_s=30, what=f"{service} is ready again")

    @contextlib.contextmanager
    def load(self) -> Iterator[Load]:
        """Clients all the while; in the end none has failed and every run is completed."""
        with listening() as receiver:
            hook = self.account.post("/v1/webhooks", {"url": receiver.url}).json()
            clients = [Client(self.account, self.endpoints, self.account.body()) for _ in range(CLIENTS)]
            load = Load(clients)
            try:
                for client in clients:
                    client.start()
                load.comes_on()
                yield load
            finally:
                for client in clients:
                    client.over.set()
                for client in clients:
                    client.join()
            assert not [failure for client in clients for failure in client.failures]
            runs = [run_id for client in clients for run_id in client.accepted]
            assert [self.account.until(run_id)["status"] for run_id in runs] == ["completed"] * len(runs)
            missing = set(runs)
            while missing:
                missing.discard(_told_run(receiver))
            self.account.delete(f"/v1/webhooks/{hook['id']}")
            requests_count = sum(client.requests_count for client in clients)
            print(f"{requests_count} requests, {len(runs)} runs: none failed, none lost")


class Load:
    """The clients at work."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients

    def comes_on(self) -> None:
        """Wait until each client has come on: requests of all of them, and a run more."""
        before = [(client.requests_count, len(client.accepted)) for client in self._clients]

        def all_came_on() -> bool:
            return all(
                client.requests_count > requests + 10 and len(client.accepted) > runs
                for client, (requests, runs) in zip(self._clients, before, strict=True)
            )

        local.eventually(all_came_on, within_s=60, what="the load goes on")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _told_run(receiver: Listening) -> str:
    """The run that the next webhook tells of."""
    return str(json.loads(receiver.next(60).body)["data"]["run_id"])
