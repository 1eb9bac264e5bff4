"""JetStream's broker through the faults of its server: killed, emptied, frozen, not there yet."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from imagineo.broker import streams, subjects
from imagineo.broker.connection import REQUEST_TIMEOUT_S
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.errors import Internal, Unavailable
from imagineo.v1.job_pb2 import LANE_FREE

from tests.support.deadlines import SURELY_S, lived
from tests.support.servers import NatsServer, nats_server

pytestmark = pytest.mark.integration

SLUG = "tiny"
SUBJECT = subjects.job(SLUG, LANE_FREE)
QUEUE = subjects.queue(SLUG, LANE_FREE)
BOUND_S = SURELY_S


@pytest.fixture
def server():
    with nats_server() as running:
        yield running


@pytest.fixture
async def broker(server):
    made = await JetStreamBroker.connect(server.url, name="faults", ack_wait_s=1.0)
    yield made
    await made.close()


def new_id():
    return f"gen_{uuid.uuid4().hex[:26]}"


async def lost(broker):
    async with asyncio.timeout(BOUND_S):
        while broker.connected:  # noqa: ASYNC110  # the port has no event for it, on purpose
            await asyncio.sleep(0.01)


async def eventually(call):
    """Repeat a call while the broker is away, as the relay and the worker do."""
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                result = await call()
            except Unavailable:
                await asyncio.sleep(0.02)
                continue
            if result is not None:
                return result
            await asyncio.sleep(0.02)


async def test_connecting_to_a_server_that_is_down_returns_and_heals(tmp_path):
    server = NatsServer(tmp_path)
    broker = await JetStreamBroker.connect(server.url, name="early", wait_s=0.1)
    try:
        assert not broker.connected
        await broker.ensure_queue(SLUG)
        await broker.emit(subjects.progress("gen_x"), b"lost")
        async with lived() as waited:
            with pytest.raises(Unavailable):
                await broker.publish_job(SUBJECT, b"job", message_id=new_id())
        assert waited.s < REQUEST_TIMEOUT_S / 2, "a publication on a known outage waits for no deadline"
        assert await broker.job_exists(1, "gen_x") is None
        server.start()
        await eventually(lambda: broker.publish_job(SUBJECT, b"job", message_id=new_id()))
        assert (await eventually(lambda: broker.next_job(QUEUE))).body == b"job"
    finally:
        await broker.close()
        server.stop()


async def test_jobs_survive_a_kill_of_the_server(server, broker):
    await broker.ensure_queue(SLUG)
    run = new_id()
    sequence = await broker.publish_job(SUBJECT, b"before", message_id=run)
    server.kill()
    await lost(broker)
    server.start()
    delivery = await eventually(lambda: broker.next_job(QUEUE))
    assert delivery.body == b"before"
    assert await broker.job_exists(sequence, run) is True
    await delivery.ack()
    assert await broker.job_exists(sequence, run) is False


async def test_an_ack_without_the_server_fails_and_may_be_repeated_when_it_is_back(server, broker):
    await broker.publish_job(SUBJECT, b"job", message_id=new_id())
    delivery = await broker.next_job(QUEUE)
    server.kill()
    await lost(broker)
    with pytest.raises(Unavailable):
        await delivery.ack()
    await delivery.in_progress()
    server.start()
    await eventually(lambda: _true(delivery.ack))
    assert (await broker.queue_depth(SLUG))[LANE_FREE] == 0


async def _true(call):
    await call()
    return True


async def test_a_server_that_lost_its_store_is_set_up_anew_and_forgotten_jobs_are_known_to_be_gone(server, broker):
    await broker.ensure_queue(SLUG)
    run = new_id()
    sequence = await broker.publish_job(SUBJECT, b"forgotten", message_id=run)
    server.kill()
    server.lose_store()
    server.start()
    exists = await eventually(lambda: broker.job_exists(sequence, run))
    assert exists is False
    await eventually(lambda: broker.publish_job(SUBJECT, b"again", message_id=run))
    assert (await eventually(lambda: broker.next_job(QUEUE))).body == b"again"


async def test_streams_deleted_under_a_live_connection_are_made_again(broker):
    await broker.ensure_queue(SLUG)
    async with broker.wakeups(SLUG):  # a listener hides from the publisher that no stream stores its job
        await streams.api(broker._connection, "STREAM.DELETE.JOBS")
        with pytest.raises(Unavailable):
            await broker.publish_job(SUBJECT, b"job", message_id=new_id())
        await eventually(lambda: broker.publish_job(SUBJECT, b"job", message_id=new_id()))
    assert (await eventually(lambda: broker.next_job(QUEUE))).body == b"job"


async def test_a_queue_deleted_under_a_live_connection_is_made_again_by_the_pull(broker):
    await broker.publish_job(SUBJECT, b"job", message_id=new_id())
    assert (await broker.next_job(QUEUE)) is not None
    await streams.api(broker._connection, f"CONSUMER.DELETE.JOBS.{QUEUE}")
    assert (await eventually(lambda: broker.next_job(QUEUE))).body == b"job"


async def test_drifted_shapes_are_put_right_and_the_operators_settings_stay(server, broker):
    await broker.ensure_queue(SLUG)
    connection = broker._connection
    config = (await streams.api(connection, "STREAM.INFO.JOBS"))["config"]
    drifted = config | {"duplicate_window": 1_000_000_000, "max_msgs_per_subject": 7}
    await streams.api(connection, "STREAM.UPDATE.JOBS", drifted)
    shape = streams.consumer(QUEUE, filter_subject=SUBJECT, ack_wait_s=77)
    await streams.ensure_consumer(connection, "JOBS", shape)
    second = await JetStreamBroker.connect(server.url, name="second")
    try:
        await second.ensure_queue(SLUG)
        mended = (await streams.api(connection, "STREAM.INFO.JOBS"))["config"]
        assert (mended["duplicate_window"], mended["max_msgs_per_subject"]) == (120_000_000_000, 7)
        consumer = await streams.api(connection, f"CONSUMER.INFO.JOBS.{QUEUE}")
        assert consumer["config"]["ack_wait"] == subjects.ACK_WAIT_S * 1e9
    finally:
        await second.close()


async def test_a_frozen_server_fails_publications_within_a_second_and_loses_none_that_was_acked(server, broker):
    await broker.ensure_queue(SLUG)
    server.freeze()
    try:
        jobs = [broker.publish_job(SUBJECT, b"job", message_id=new_id()) for _ in range(600)]
        async with lived() as waited:
            results = await asyncio.gather(*jobs, return_exceptions=True)
    finally:
        server.thaw()
    assert {type(result) for result in results} == {Unavailable}
    assert waited.s < 1.8 * REQUEST_TIMEOUT_S, "those that queue behind the first share its deadline: none adds its own"
    await eventually(lambda: broker.publish_job(SUBJECT, b"job", message_id=new_id()))


async def test_a_half_open_connection_full_of_unsent_data_is_given_up_and_replaced(server):
    broker = await JetStreamBroker.connect(server.url, name="half-open", ping_interval_s=0.2)
    try:
        server.freeze()
        jobs = [broker.publish_job(SUBJECT, bytes(500_000), message_id=new_id()) for _ in range(40)]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert {type(result) for result in results} == {Unavailable}
        await lost(broker)
        async with lived() as waited:
            with pytest.raises(Unavailable):
                await broker.publish_job(SUBJECT, b"job", message_id=new_id())
        assert waited.s < REQUEST_TIMEOUT_S / 2, "a publication on a known outage waits for no deadline"
        server.thaw()
        await eventually(lambda: broker.publish_job(SUBJECT, b"job", message_id=new_id()))
    finally:
        server.thaw()
        await broker.close()


async def test_an_error_of_the_server_that_ends_the_connection_does_not_end_the_broker(broker):
    before = broker._connection._client
    await before._process_err("'Authentication Timeout'")
    await eventually(lambda: broker.publish_job(SUBJECT, b"job", message_id=new_id()))
    assert broker._connection._client is not before


async def test_a_broker_lets_go_of_a_frozen_server_in_time(server):
    broker = await JetStreamBroker.connect(server.url, name="frozen")
    server.freeze()
    try:
        async with lived() as waited:
            await broker.close()
        assert waited.s < 2.5, "nothing that is closed waits for the server's word without a deadline"
    finally:
        server.thaw()


async def test_wakeups_and_hints_go_on_after_a_restart(server, broker):
    heard = asyncio.Event()

    async def listen(_subject, _body):
        heard.set()

    await broker.subscribe(subjects.EVERY_CHANGE, listen)
    async with broker.wakeups(SLUG) as wake:
        server.kill()
        await lost(broker)
        server.start()
        assert await wake.wait(BOUND_S) is True, "a reconnect wakes: publications may have been missed"
        await eventually(lambda: broker.publish_job(SUBJECT, b"job", message_id=new_id()))
        assert await wake.wait(BOUND_S) is True
    await broker.emit(subjects.change("gen_x"), b"changed")
    async with asyncio.timeout(BOUND_S):
        await heard.wait()


@pytest.mark.parametrize("store", ["kept", "lost"])
async def test_a_consumer_goes_on_after_a_restart(server, broker, store):
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(deliveries):
        for delivery in deliveries:
            await delivery.ack()
            arrived.put_nowait(delivery.body)

    async def publish(body):
        await eventually(lambda: _true(lambda: broker.publish_outcome(SUBJECT_OUT, body, message_id=body.decode())))

    consumer = asyncio.create_task(broker.consume("OUTCOMES", "status", take))
    try:
        async with asyncio.timeout(BOUND_S):
            await publish(b"first")
            assert await arrived.get() == b"first"
        server.kill()
        await lost(broker)
        if store == "lost":
            server.lose_store()
        server.start()
        async with asyncio.timeout(BOUND_S):
            await publish(b"second")
            assert await arrived.get() == b"second"
    finally:
        consumer.cancel()
        await asyncio.wait({consumer})


SUBJECT_OUT = subjects.outcome("gen_x")


async def test_nothing_acked_is_lost_while_the_server_is_killed_under_load(server, broker):
    await broker.ensure_queue(SLUG)
    acked: set[bytes] = set()
    stopped = asyncio.Event()

    async def publish():
        while not stopped.is_set():
            run = new_id()
            await eventually(lambda run=run: broker.publish_job(SUBJECT, run.encode(), message_id=run))
            acked.add(run.encode())

    publishers = [asyncio.create_task(publish()) for _ in range(8)]
    for _ in range(3):
        before = len(acked)
        async with asyncio.timeout(BOUND_S):
            while len(acked) < before + 50:  # noqa: ASYNC110  # a count, not an event
                await asyncio.sleep(0.01)
        server.kill()
        await lost(broker)
        server.start()
    stopped.set()
    await asyncio.gather(*publishers)
    taken: set[bytes] = set()
    while (delivery := await broker.next_job(QUEUE)) is not None:
        taken.add(delivery.body)
        await delivery.ack()
    assert acked <= taken


async def test_a_message_larger_than_the_server_takes_is_a_bug_not_an_outage(broker):
    with pytest.raises(Internal):
        await broker.publish_job(SUBJECT, bytes(2 * 1024 * 1024), message_id=new_id())
    assert broker.connected


async def test_a_full_stream_refuses_and_keeps_what_it_has(broker):
    config = (await streams.api(broker._connection, "STREAM.INFO.JOBS"))["config"]
    await streams.api(broker._connection, "STREAM.UPDATE.JOBS", config | {"max_msgs": 1})
    run = new_id()
    sequence = await broker.publish_job(SUBJECT, b"kept", message_id=run)
    with pytest.raises(Unavailable, match="refused"):
        await broker.publish_job(SUBJECT, b"refused", message_id=new_id())
    assert await broker.job_exists(sequence, run) is True
