"""On a NATS cluster of three the streams and queues stand on as many servers as asked for, and outlive one of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from imagineo.broker import streams, subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.broker.port import Delivery
from imagineo.errors import Unavailable
from imagineo.v1 import job_pb2

from tests.support.deadlines import STARTED_WITHIN_S
from tests.support.servers import NatsServer, free_port

Answer = TypeVar("Answer")
QUEUE = subjects.queue("tiny", job_pb2.LANE_FREE)


class ClusteredServer(NatsServer):
    """One of three."""

    def __init__(self, data: Path, name: str, routes: dict[str, int]) -> None:
        super().__init__(data)
        self._name = name
        self._routes = routes

    def command(self) -> list[str]:
        """As a single server, and with the others."""
        others = ",".join(f"nats://127.0.0.1:{port}" for port in self._routes.values())
        cluster = ["--cluster_name", "three", "--cluster", f"nats://127.0.0.1:{self._routes[self._name]}"]
        return [*super().command(), "-n", self._name, *cluster, "--routes", others]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[ClusteredServer]]:
    routes = {name: free_port() for name in ("a", "b", "c")}
    servers = []
    for name in routes:
        (tmp_path / name).mkdir()
        servers.append(ClusteredServer(tmp_path / name, name, routes))
    try:
        with ThreadPoolExecutor(3) as starting:  # one alone waits for the others before it says that it is ready
            list(starting.map(ClusteredServer.start, servers))
        yield servers
    finally:
        for server in servers:
            server.kill()


async def eventually(call: Callable[[], Awaitable[Answer | None]]) -> Answer:
    """Repeat a call while the cluster elects, as the programs do."""
    async with asyncio.timeout(STARTED_WITHIN_S):
        while True:
            with contextlib.suppress(Unavailable):
                if (answer := await call()) is not None:
                    return answer
            await asyncio.sleep(0.05)


async def test_streams_and_queues_stand_on_three_servers_and_outlive_one(three: list[ClusteredServer]) -> None:
    urls = ",".join(server.url for server in three)
    broker = await JetStreamBroker.connect(urls, name="status", replicas=3, wait_s=30)
    try:
        await eventually(lambda: _made(broker))
        stream = await streams.api(broker._connection, "STREAM.INFO.JOBS")
        queue = await streams.api(broker._connection, f"CONSUMER.INFO.JOBS.{QUEUE}")
        assert stream["config"]["num_replicas"] == 3
        assert len(queue["cluster"]["replicas"]) == 2  # besides its leader
        subject = subjects.job("tiny", job_pb2.LANE_FREE)
        await eventually(lambda: broker.publish_job(subject, b"kept", message_id="kept"))
    finally:
        await broker.close()

    three[0].kill()
    left = ",".join(server.url for server in three[1:])
    broker = await JetStreamBroker.connect(left, name="worker one", makes_streams=False)
    try:
        delivery = await eventually(lambda: broker.next_job(QUEUE))
        assert delivery.body == b"kept"
        await eventually(lambda: _acked(delivery))
    finally:
        await broker.close()


async def _made(broker: JetStreamBroker) -> bool:
    await broker.make_queue("tiny")
    return True


async def _acked(delivery: Delivery) -> bool:
    await delivery.ack()
    return True
