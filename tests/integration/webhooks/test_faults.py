"""Crashes and outages: nothing is lost, and what is sent twice has one id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
from imagineo import errors
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.ids import new_id
from imagineo.postgres.migrations import migrate
from imagineo.rpc.channel import connect
from imagineo.v1 import generation_pb2, webhook_service_pb2_grpc
from imagineo.v1 import webhook_pb2 as pb
from imagineo.v1 import webhook_service_pb2 as service

from services.webhooks import app
from tests.integration.webhooks.conftest import MIGRATIONS, SECRET_KEY, Hooks, settings_of
from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S
from tests.support.receiver import holds, receiver, says
from tests.support.servers import free_port, nats_server, postgres_server

ROOT = Path(__file__).parents[3]


@contextlib.asynccontextmanager
async def program(folder: Path, dsn: str, nats_url: str, **changes: str):
    """`python -m services.webhooks` as an operator starts it; gives the process and its ports."""
    ports = folder / f"{new_id('req')}.json"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}/libs:{ROOT}",
        "IMAGINEO_POSTGRES_DSN": dsn,
        "IMAGINEO_NATS_URL": nats_url,
        "IMAGINEO_WEBHOOKS_PUBLIC_URL": "https://imagineo.test",
        "IMAGINEO_WEBHOOKS_SIGNING_KEY": "0123456789abcdef",
        "IMAGINEO_WEBHOOKS_SECRET_KEYS": SECRET_KEY,
        "IMAGINEO_WEBHOOKS_ALLOW_LOOPBACK": "true",
        "IMAGINEO_WEBHOOKS_LISTEN": "127.0.0.1:0",
        "IMAGINEO_WEBHOOKS_PORTS_FILE": str(ports),
        **changes,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.webhooks", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(STARTED_WITHIN_S):
            while not ports.exists():
                assert process.returncode is None, (await process.stderr.read()).decode()
                await asyncio.sleep(0.02)
        yield process, json.loads(ports.read_text())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def client_of(port: int, broker, clock, owner: str):
    async with connect(f"127.0.0.1:{port}") as channel:
        yield Hooks(webhook_service_pb2_grpc.WebhookServiceStub(channel), broker, owner, clock)


async def test_killed_between_the_request_and_its_note_it_sends_the_same_event_once_more(
    webhooks_dsn, nats, broker, clock, target, tmp_path
):
    target.answers.append(holds(asyncio.Event()))
    limit = {"IMAGINEO_WEBHOOKS_TIMEOUT_S": "1.5"}
    async with (
        program(tmp_path, webhooks_dsn, nats.url, **limit) as (process, ports),
        client_of(ports["listen"], broker, clock, new_id("org")) as hooks,
    ):
        owner = hooks.owner
        webhook_id, secret = await hooks.create(target.url)
        event_id = await hooks.say()
        first = await target.next()
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with (
        program(tmp_path, webhooks_dsn, nats.url, **limit) as (_, ports),
        client_of(ports["listen"], broker, clock, owner) as hooks,
    ):
        second = await target.next()
        assert first.event_id == second.event_id == event_id
        second.verify(secret)
        [line] = await hooks.until(lambda log: log[0].state == pb.DELIVERY_STATE_DELIVERED, webhook_id)
        assert line.attempts == 1


async def test_it_starts_while_everything_is_away_and_ends_cleanly(tmp_path):
    nowhere = f"127.0.0.1:{free_port()}"
    async with program(tmp_path, f"postgresql://u:p@{nowhere}/x", f"nats://{nowhere}") as (process, ports):
        async with httpx.AsyncClient(trust_env=False) as client:
            metrics = (await client.get(f"http://127.0.0.1:{ports['metrics']}/metrics")).text
        assert "imagineo_webhooks_attempts_in_flight 0.0" in metrics
        async with connect(f"127.0.0.1:{ports['listen']}") as channel:
            hooks = Hooks(webhook_service_pb2_grpc.WebhookServiceStub(channel), None, "org_1", None)
            with pytest.raises(errors.Unavailable):
                await hooks(service.ListWebhooksRequest(organization_id="org_1"))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), SURELY_S) == 0
        logged = (await process.stderr.read()).decode()
    assert SECRET_KEY not in logged
    assert all(json.loads(line)["service"] == "webhooks" for line in logged.splitlines())


async def test_what_is_logged_of_an_attempt_says_whose_it_is_and_of_which_run(
    webhooks_dsn, nats, broker, clock, target, tmp_path
):
    async with (
        program(tmp_path, webhooks_dsn, nats.url) as (process, ports),
        client_of(ports["listen"], broker, clock, new_id("org")) as hooks,
    ):
        webhook_id, _ = await hooks.create(target.url)
        event_id = await hooks.say()
        told = json.loads((await target.next()).body)["data"]
        await hooks.until(lambda log: log and log[0].state == pb.DELIVERY_STATE_DELIVERED, webhook_id)
        process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in (await process.stderr.read()).splitlines()]
    [attempt] = [line for line in lines if line.get("event_id") == event_id]
    assert (attempt["org_id"], attempt["run_id"]) == (hooks.owner, told["run_id"])


async def test_a_command_that_lacks_a_setting_names_it():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.webhooks",
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}/libs:{ROOT}"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    for name in ("POSTGRES_DSN", "SECRET_KEYS", "SIGNING_KEY", "PUBLIC_URL"):
        assert f"IMAGINEO_WEBHOOKS_{name} is not set" in said.decode()


async def test_two_replicas_send_each_event_once(start, target):
    async with start() as one, start() as two:
        await one.create(target.url)
        sent = {await (one if number % 2 else two).say() for number in range(40)}
        await one.until(one_page_delivered, within_s=STARTED_WITHIN_S)
        received = [(await target.next()).event_id for _ in range(40)]
    assert set(received) == sent
    assert len(target.requests) == 40


def one_page_delivered(log) -> bool:
    return len(log) == 20 and all(line.state == pb.DELIVERY_STATE_DELIVERED for line in log)


async def test_the_bound_on_one_receiver_holds_over_replicas(start):
    go_on = asyncio.Event()
    async with receiver(*[holds(go_on)] * 3) as slow:
        async with (
            start(attempts_at_one_origin=3, timeout_s=10.0) as one,
            start(attempts_at_one_origin=3, timeout_s=10.0) as two,
        ):
            await one.create(slow.url)
            for _ in range(10):
                await two.say()
            for _ in range(3):
                await slow.next()
            await one.until(lambda log: len(log) == 10)
            assert slow.connections == 3
            go_on.set()
            await one.until(
                lambda log: len(log) == 10 and all(line.state == pb.DELIVERY_STATE_DELIVERED for line in log),
                within_s=STARTED_WITHIN_S,
            )
        assert len(slow.requests) == 10


async def test_what_came_while_the_database_was_away_is_told_when_it_is_back(nats, broker, clock, target):
    with postgres_server() as database:
        dsn = database.new_database()
        await asyncio.to_thread(migrate, dsn, "webhooks", MIGRATIONS)
        async with (
            app.running(settings_of(dsn, nats.url), None, None, clock=clock) as port,
            client_of(port, broker, clock, new_id("org")) as hooks,
        ):
            _, secret = await hooks.create(target.url)
            await asyncio.to_thread(database.kill)
            event_id = await hooks.say()
            with pytest.raises(errors.Unavailable):
                await hooks.log()
            await asyncio.to_thread(database.start)
            request = await target.next(within_s=STARTED_WITHIN_S)
    assert request.event_id == event_id
    request.verify(secret)


async def test_what_is_queued_goes_out_without_the_broker(webhooks_dsn, clock, target):
    with nats_server() as own:
        say = await JetStreamBroker.connect(own.url, name="test")
        async with (
            app.running(settings_of(webhooks_dsn, own.url), None, None, clock=clock) as port,
            client_of(port, say, clock, new_id("org")) as hooks,
        ):
            webhook_id, _ = await hooks.create(target.url)
            event_id = await hooks.say(generation_pb2.STATUS_EXPIRED)
            await target.next()
            [line] = await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
            await asyncio.to_thread(own.kill)
            names = {"organization_id": hooks.owner, "webhook_id": webhook_id, "delivery_id": line.delivery_id}
            await hooks(service.RedeliverRequest(**names))
            assert (await target.next()).event_id == event_id
            await asyncio.to_thread(own.start)
            later = await _said(hooks)
            assert (await target.next(within_s=STARTED_WITHIN_S)).event_id == later
        await say.close()


async def _said(hooks) -> str:
    """Announce an end as soon as the broker takes it."""
    async with asyncio.timeout(STARTED_WITHIN_S):
        while True:
            with contextlib.suppress(errors.Unavailable):
                return await hooks.say()
            await asyncio.sleep(0.1)


async def test_an_event_that_cannot_be_written_is_dropped_and_holds_up_nobody(hooks, database, target):
    target.answers.append(says(500))
    webhook_id, _ = await hooks.create(target.url)
    await hooks.say()
    await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
    await database.execute("UPDATE webhooks.deliveries SET payload = '\\xff', next_attempt_at = now()")
    event_id = await hooks.say()
    await target.next()
    assert (await target.next()).event_id == event_id
    log = await hooks.until(lambda log: all(line.state != pb.DELIVERY_STATE_PENDING for line in log), webhook_id)
    assert (log[1].state, log[1].last_error) == (pb.DELIVERY_STATE_DROPPED, "The event cannot be written.")
