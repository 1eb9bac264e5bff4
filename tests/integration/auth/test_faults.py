"""What the service does while its dependencies are away, and that it heals by itself."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from imagineo import errors
from imagineo.postgres.migrations import migrate
from imagineo.rpc.channel import connect
from imagineo.v1 import auth_service_pb2, auth_service_pb2_grpc

from services.auth.authorizer import BUDGET_S
from tests.integration.auth.conftest import MIGRATIONS, check_for, run_id
from tests.support.deadlines import SURELY_S, lived
from tests.support.servers import free_port, postgres_server

pytestmark = pytest.mark.integration


@pytest.fixture
def own_postgres():
    """A server that a test may kill."""
    with postgres_server() as server:
        yield server


async def eventually_granted(auth, secret: str):
    async with asyncio.timeout(SURELY_S):
        while True:
            with contextlib.suppress(errors.Unavailable):
                return (await auth.authorize(check_for(secret, reserve=run_id())))[0]


async def test_a_killed_postgres_is_answered_within_three_seconds_and_healed_after(start, own_postgres):
    dsn = own_postgres.new_database()
    await asyncio.to_thread(migrate, dsn, "auth", MIGRATIONS)
    async with start(dsn=dsn) as auth:
        _, _, secret = await auth.new_key(requests_per_minute=10**9)
        assert not (await auth.authorize(check_for(secret)))[0].HasField("error")
        await asyncio.to_thread(own_postgres.kill)
        for _ in range(3):
            async with lived() as waited:
                with pytest.raises(errors.Unavailable):
                    await auth.authorize(check_for(secret))
            assert waited.s < 3.0, "a check without its database is answered within the gateway's patience"
        await asyncio.to_thread(own_postgres.start)
        verdict = await eventually_granted(auth, secret)
        assert not verdict.HasField("error")


async def test_a_frozen_postgres_holds_no_check_and_counts_none_that_was_given_up_in_the_queue(start, own_postgres):
    dsn = own_postgres.new_database()
    await asyncio.to_thread(migrate, dsn, "auth", MIGRATIONS)
    async with start(dsn=dsn) as auth:
        organization_id, _, secret = await auth.new_key(requests_per_minute=100)
        await auth.authorize(check_for(secret))

        async def refused() -> None:
            with pytest.raises(errors.Unavailable):
                await auth.authorize(check_for(secret, reserve=run_id()))

        await asyncio.to_thread(own_postgres.freeze)
        try:
            # 16 lists share a statement and two statements are in the air: the rest queues.
            async with lived() as waited:
                await asyncio.gather(*(refused() for _ in range(60)))
        finally:
            await asyncio.to_thread(own_postgres.thaw)
        assert waited.s < BUDGET_S + 0.7, "the lists behind the first share its budget: none adds its own"
        await eventually_granted(auth, secret)
        # Both numbers in one look: a statement that was in the air at the thaw may still be counting.
        usage = await auth(auth_service_pb2.GetUsageRequest(organization_id=organization_id))
        used = 100 - usage.rate_limit.remaining
        assert used <= 40
        assert usage.images_reserved == used - 1


async def test_it_starts_while_postgres_is_down_says_so_and_serves_once_it_is_up(start, own_postgres):
    dsn = own_postgres.new_database()
    await asyncio.to_thread(migrate, dsn, "auth", MIGRATIONS)
    await asyncio.to_thread(own_postgres.stop)
    async with start(dsn=dsn) as auth:
        async with connect(f"127.0.0.1:{auth.port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="imagineo.v1.AuthService"), timeout=20
            )
            await until(watch, health_pb2.HealthCheckResponse.NOT_SERVING)
            with pytest.raises(errors.Unavailable):
                await auth.authorize(check_for("imag_x"))
            await asyncio.to_thread(own_postgres.start)
            await until(watch, health_pb2.HealthCheckResponse.SERVING)
            watch.cancel()
        verdict = (await auth.authorize(check_for("imag_x")))[0]
        assert verdict.HasField("error")
        assert not verdict.HasField("principal")


async def test_a_schema_that_is_not_there_yet_is_not_ready_and_heals_once_it_is_migrated(start, dsn):
    async with start(dsn=dsn) as auth, connect(f"127.0.0.1:{auth.port}") as channel:
        request = health_pb2.HealthCheckRequest(service="imagineo.v1.AuthService")
        watch = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=20)
        await until(watch, health_pb2.HealthCheckResponse.NOT_SERVING)
        await asyncio.to_thread(migrate, dsn, "auth", MIGRATIONS)
        await until(watch, health_pb2.HealthCheckResponse.SERVING)
        watch.cancel()
        _, _, secret = await auth.new_key()
        assert not (await auth.authorize(check_for(secret)))[0].HasField("error")


async def until(watch: grpc.aio.UnaryStreamCall, status) -> None:
    async for answer in watch:
        if answer.status == status:
            return


def program(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "services.auth", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "libs:.", **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def scraped(port: int) -> str:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


async def finished(process: subprocess.Popen[str], typed: str = "") -> tuple[int, str, str]:
    out, err = await asyncio.to_thread(process.communicate, typed, timeout=60)
    return process.returncode, out, err


async def test_the_program_migrates_makes_a_key_serves_and_ends_on_sigterm(dsn, nats, tmp_path):
    assert (await finished(program("migrate", IMAGINEO_AUTH_POSTGRES_DSN=dsn)))[0] == 0
    assert (await finished(program("migrate", IMAGINEO_AUTH_POSTGRES_DSN=dsn)))[0] == 0

    made = program(
        "create-organization", "--name", "Local", "--plan", "premium", "--id", "org_local", IMAGINEO_POSTGRES_DSN=dsn
    )
    code, out, err = await finished(made)
    assert (code, "org_local" in out) == (0, True), err
    code, out, err = await finished(program("create-key", "org_local", "--name", "k", IMAGINEO_POSTGRES_DSN=dsn))
    assert (code, '"secret": "imag_' in out) == (0, True), err
    user = ("create-user", "org_local", "--email", "ada@example.org", "--name", "Ada", "--administrator")
    code, out, err = await finished(program(*user, IMAGINEO_POSTGRES_DSN=dsn), "a fine long password\n")
    assert (code, '"is_administrator": true, "was_created": true' in out) == (0, True), err
    code, out, err = await finished(program(*user, IMAGINEO_POSTGRES_DSN=dsn), "a fine long password\n")
    assert (code, out, "ada@example.org already" in err) == (2, "", True), err
    code, out, err = await finished(program(*user, "--existing", IMAGINEO_POSTGRES_DSN=dsn), "another long one\n")
    assert (code, '"was_created": false' in out) == (0, True), err
    code, _, err = await finished(program(*user, IMAGINEO_POSTGRES_DSN=dsn), "password12\n")
    assert (code, "easy to guess" in err or "common" in err) == (2, True), err
    code, _, err = await finished(program("create-key", "org_nobody", "--name", "k", IMAGINEO_POSTGRES_DSN=dsn))
    assert code == 2
    assert "There is no organization 'org_nobody'." in err

    server = program(
        IMAGINEO_AUTH_POSTGRES_DSN=dsn,
        IMAGINEO_NATS_URL=nats.url,
        IMAGINEO_STATUS_ADDRESS=f"127.0.0.1:{free_port()}",
        IMAGINEO_AUTH_LISTEN=f"127.0.0.1:{(port := free_port())}",
        IMAGINEO_AUTH_METRICS_LISTEN="127.0.0.1:0",
        IMAGINEO_AUTH_PORTS_FILE=str(tmp_path / "ports.json"),
    )
    try:
        async with connect(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=30, wait_for_ready=True)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            authorize = auth_service_pb2_grpc.AuthServiceStub(channel).Authorize
            await authorize(auth_service_pb2.AuthorizeRequest(checks=[check_for("imag_x")]), timeout=10)
        ports = json.loads((tmp_path / "ports.json").read_text())
        assert ports["listen"] == port
        metrics = await asyncio.to_thread(scraped, ports["metrics"])
        assert 'imagineo_auth_decisions_total{reason="invalid_api_key"} 1.0' in metrics
        assert 'imagineo_auth_rpc_total{code="OK",method="Authorize"} 1.0' in metrics
        server.send_signal(signal.SIGTERM)
        code, _, err = await finished(server)
        assert (code, "Traceback" in err) == (0, False), err
    finally:
        server.kill()


async def test_missing_settings_are_named_together():
    code, _, err = await finished(program())
    assert code == 2
    assert {line.split()[0] for line in err.splitlines()} == {
        "IMAGINEO_AUTH_POSTGRES_DSN",
        "IMAGINEO_AUTH_NATS_URL",
        "IMAGINEO_AUTH_STATUS_ADDRESS",
    }
