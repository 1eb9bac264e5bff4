"""What a release has one of, and what it bears: the stream JOBS, the queues' picture, an organization's window.

For `deploy/helm/imagineo/CAPACITY.md`. Servers and statements are the real ones; what calls them is this process, so
that rates are of it and its servers together on one machine, and the servers' own processor time stands beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.ids import new_id
from imagineo.postgres.migrations import migrate
from imagineo.postgres.pool import Database
from imagineo.v1 import job_pb2

from deploy.local import postgres
from services.auth.admission import Demand
from services.auth.plans import Limits
from services.auth.repository import Repository
from services.status.repository.dispatch import Dispatch
from services.status.repository.listing import Listing
from tests.bench.platform import cpu_s
from tests.bench.report import Report
from tests.support.platform import REPOSITORY, UNBOUNDED
from tests.support.servers import NatsServer, PostgresServer, free_port

_JOB: Final = bytes(540)
_PUBLISHES: Final = 10_000
_PUBLISHED_AT_ONCE: Final = 32
_WAITING: Final = 100_000
_WAITING_RUNS: Final = """
INSERT INTO status.unfinished (run_id, base_model_slug, lane, work, created_at, due_at, stream_sequence)
SELECT 'gen_' || lpad(n::text, 26, '0'), 'base-' || n %% 8, 1 + n %% 3, 20, now(), 'infinity', n
FROM generate_series(1, %d) AS n;
ANALYZE status.unfinished
"""
_LOOKS: Final = 5
_CALLERS: Final = 16
_CALLING_S: Final = 5.0


class ClusteredNats(NatsServer):
    """One of the servers of a cluster."""

    def __init__(self, data: Path, name: str, own: int, routes: Sequence[int]) -> None:
        super().__init__(data)
        self._name, self._own, self._routes = name, own, routes

    def command(self) -> list[str]:
        """As one alone, and where the others are."""
        others = ",".join(f"nats://127.0.0.1:{port}" for port in self._routes)
        place = ["--server_name", self._name, "--cluster_name", "bench", "--cluster", f"nats://127.0.0.1:{self._own}"]
        return [*super().command(), *place, "--routes", others]


class DurablePostgres(PostgresServer):
    """With commits that survive a power cut, as the local platform has it."""

    def command(self) -> list[str]:
        """The platform's own settings, and sockets in the data folder."""
        sockets = {"unix_socket_directories": str(self.data)}
        return [*postgres.command(self.data, self.port, max_connections="200", **sockets)]


def run(report: Report) -> None:
    """Print what each bears."""
    for count in (1, 3):
        with _nats(count) as servers:
            asyncio.run(_publish(report, servers))
    with tempfile.TemporaryDirectory() as folder:
        server = DurablePostgres(Path(folder))
        server.prepare()
        server.start()
        try:
            asyncio.run(_look_at_queues(report, server))
            asyncio.run(_admit(report, server))
        finally:
            server.abandon()


@contextlib.contextmanager
def _nats(count: int) -> Iterator[list[NatsServer]]:
    routes = [free_port() for _ in range(count)]
    with ExitStack() as stack:
        servers: list[NatsServer] = []
        for number, own in enumerate(routes):
            data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            alone = count == 1
            servers.append(NatsServer(data) if alone else ClusteredNats(data, f"nats-{number}", own, routes))
        for server in servers:
            server.start()
            stack.callback(server.stop)
        yield servers


async def _publish(report: Report, servers: Sequence[NatsServer]) -> None:
    """Acknowledged publishes into JOBS by one publisher, kept on as many servers as there are."""
    replicas = len(servers)
    urls = ",".join(server.url for server in servers)
    broker = await JetStreamBroker.connect(urls, name="bench", replicas=replicas, wait_s=60)
    members = [psutil.Process(server.pid) for server in servers]
    turns = asyncio.Semaphore(_PUBLISHED_AT_ONCE)

    async def publish() -> None:
        async with turns:
            subject = subjects.job("starter", job_pb2.LANE_BASIC)
            await broker.publish_job(subject, _JOB, message_id=new_id("gen"))

    try:
        await asyncio.gather(*(publish() for _ in range(1_000)))
        before_s, own_s, began_s = cpu_s(members), time.process_time(), time.perf_counter()
        await asyncio.gather(*(publish() for _ in range(_PUBLISHES)))
        took_s = time.perf_counter() - began_s
        name = f"publishes_r{replicas}"
        report.figure(name, _PUBLISHES / took_s, "1/s")
        report.figure(f"{name}_cpu_servers", (cpu_s(members) - before_s) / _PUBLISHES * 1e6, "us")
        report.figure(f"{name}_cpu_publisher", (time.process_time() - own_s) / _PUBLISHES * 1e6, "us")
    finally:
        await broker.close()


@contextlib.asynccontextmanager
async def _database(server: PostgresServer, service: str, connections: int) -> AsyncIterator[tuple[Database, str]]:
    """A migrated database, and its name."""
    dsn = server.new_database()
    await asyncio.to_thread(migrate, dsn, service, REPOSITORY / "services" / service / "migrations")
    database = await Database.open(dsn, application_name="bench", max_size=connections)
    try:
        yield database, dsn.rpartition("/")[2]
    finally:
        await database.close()


async def _look_at_queues(report: Report, server: PostgresServer) -> None:
    """What a status replica reads once a second, or less often where that takes long, of many waiting runs."""
    async with _database(server, "status", 2) as (database, name):
        await asyncio.to_thread(server.sql, _WAITING_RUNS % _WAITING, name)
        listing, dispatch = Listing(database), Dispatch(database)
        for what, look in (("queues", listing.queues), ("landmarks", listing.landmarks)):
            await look()
            began_s = time.perf_counter()
            for _ in range(_LOOKS):
                await look()
            report.figure(f"picture_{what}_of_{_WAITING}", (time.perf_counter() - began_s) / _LOOKS * 1e3, "ms")
        began_s = time.perf_counter()
        for _ in range(_LOOKS):
            await dispatch.take_due(128, with_running=True)
        report.figure(f"relay_look_of_{_WAITING}", (time.perf_counter() - began_s) / _LOOKS * 1e3, "ms")


async def _admit(report: Report, server: PostgresServer) -> None:
    """Windows of requests: callers that meet in one organization's row, and callers that do not."""
    async with _database(server, "auth", _CALLERS) as (database, _):
        repository = Repository(database)
        demand = Demand(Limits(UNBOUNDED, UNBOUNDED, UNBOUNDED), request_count=1)
        for name, owners in (
            ("one_organization", [new_id("org")] * _CALLERS),
            ("many_organizations", [new_id("org") for _ in range(_CALLERS)]),
        ):
            end_s = time.perf_counter() + _CALLING_S

            async def call(owner: str, end_s: float = end_s) -> int:
                count = 0
                while time.perf_counter() < end_s:
                    await repository.admit({owner: demand})
                    count += 1
                return count

            counts = await asyncio.gather(*(call(owner) for owner in owners))
            report.figure(f"admits_{name}", sum(counts) / _CALLING_S, "1/s")
