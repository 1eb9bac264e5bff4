"""What every broker promises: the same tests for the one in memory and for JetStream on a real server."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from imagineo.broker import subjects
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.broker.memory import MemoryBroker
from imagineo.telemetry import tracing
from imagineo.v1.job_pb2 import LANE_BASIC, LANE_FREE, LANE_PREMIUM
from opentelemetry.sdk.trace import TracerProvider

from tests.support.deadlines import SURELY_S

ACK_WAIT_S = 0.4
BOUND_S = SURELY_S


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.integration)])
async def broker(request):
    if request.param == "memory":
        made = MemoryBroker(ack_wait_s=ACK_WAIT_S)
    else:
        nats = request.getfixturevalue("nats")
        made = await JetStreamBroker.connect(nats.url, name="contract", ack_wait_s=ACK_WAIT_S)
    yield made
    await made.close()


@pytest.fixture
def slug():
    return f"base-1.5-{uuid.uuid4().hex[:8]}"


def run_id():
    return f"gen_{uuid.uuid4().hex[:26]}"


async def taken(broker, queue):
    """Poll a queue as a worker does until a job comes: no hint tells when a delivery's time is up."""
    async with asyncio.timeout(BOUND_S):
        while True:
            delivery = await broker.next_job(queue)
            if delivery is not None:
                return delivery
            await asyncio.sleep(0.02)


async def test_a_published_job_is_taken_once_and_gone_when_acked(broker, slug):
    await broker.ensure_queue(slug)
    run, queue = run_id(), subjects.queue(slug, LANE_PREMIUM)
    sequence = await broker.publish_job(subjects.job(slug, LANE_PREMIUM), b"job", message_id=run)
    delivery = await broker.next_job(queue)
    assert (delivery.body, delivery.subject, delivery.delivered_count) == (b"job", subjects.job(slug, LANE_PREMIUM), 1)
    assert await broker.next_job(queue) is None
    assert await broker.job_exists(sequence, run) is True
    await delivery.ack()
    assert await broker.job_exists(sequence, run) is False


async def test_a_job_carries_the_trace_that_it_was_published_in(broker, slug):
    await broker.ensure_queue(slug)
    carried = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    tracing.install(TracerProvider(shutdown_on_exit=False))
    try:
        with tracing.continued(carried):
            await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=run_id())
    finally:
        tracing.install(None)
    await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=run_id())

    first, second = [await broker.next_job(subjects.queue(slug, LANE_FREE)) for _ in range(2)]

    assert first.trace["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert "traceparent" not in second.trace


async def test_an_empty_queue_answers_none(broker, slug):
    await broker.ensure_queue(slug)
    assert await broker.next_job(subjects.queue(slug, LANE_FREE)) is None


async def test_a_queue_that_nobody_ensured_is_made_by_the_first_pull(broker, slug):
    await broker.publish_job(subjects.job(slug, LANE_FREE), b"early", message_id=run_id())
    assert (await broker.next_job(subjects.queue(slug, LANE_FREE))).body == b"early"


async def test_jobs_of_one_lane_come_in_order_and_lanes_do_not_mix(broker, slug):
    for number in range(3):
        for lane in subjects.LANES:
            await broker.publish_job(subjects.job(slug, lane), f"{lane}-{number}".encode(), message_id=run_id())
    bodies = [(await broker.next_job(subjects.queue(slug, LANE_BASIC))).body for _ in range(3)]
    assert bodies == [f"{LANE_BASIC}-{number}".encode() for number in range(3)]


async def test_the_same_message_id_is_stored_once(broker, slug):
    run, subject = run_id(), subjects.job(slug, LANE_FREE)
    first = await broker.publish_job(subject, b"job", message_id=run)
    assert await broker.publish_job(subject, b"job", message_id=run) == first
    assert await broker.queue_depth(slug) == {LANE_PREMIUM: 0, LANE_BASIC: 0, LANE_FREE: 1}


async def test_a_job_that_is_not_acked_in_time_comes_again_with_a_higher_count(broker, slug):
    queue = subjects.queue(slug, LANE_FREE)
    await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=run_id())
    first = await broker.next_job(queue)
    second = await taken(broker, queue)
    assert (first.delivered_count, second.delivered_count) == (1, 2)


async def test_a_job_in_progress_stays_with_its_worker(broker, slug):
    for number in range(20):
        if await kept(broker, f"{slug}-{number}"):
            return
    pytest.fail("the machine stands still again and again for longer than a job may be silent")


async def kept(broker, slug) -> bool:
    """Keep a job for three times as long as it may be silent; False where this test itself was silent for too long."""
    queue, clock_s = subjects.queue(slug, LANE_FREE), asyncio.get_running_loop().time
    await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=run_id())
    delivery = await broker.next_job(queue)
    renewed_s = clock_s()
    until_s = renewed_s + 3 * ACK_WAIT_S
    while renewed_s < until_s:
        await delivery.in_progress()
        await asyncio.sleep(ACK_WAIT_S / 8)
        again = await broker.next_job(queue)
        if clock_s() - renewed_s > 0.9 * ACK_WAIT_S:
            return False
        assert again is None, "a job that is renewed is given to another worker"
        renewed_s = clock_s()
    assert (await taken(broker, queue)).delivered_count == 2
    return True


async def test_a_job_handed_back_comes_at_once_and_with_a_delay_later(broker, slug):
    queue, loop = subjects.queue(slug, LANE_FREE), asyncio.get_running_loop()
    await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=run_id())
    await (await broker.next_job(queue)).nak()
    again = await taken(broker, queue)
    assert again.delivered_count == 2
    handed_back_s = loop.time()
    await again.nak(delay_s=0.3)
    assert (await taken(broker, queue)).delivered_count == 3
    assert loop.time() - handed_back_s >= 0.25


async def test_a_job_given_up_never_comes_again(broker, slug):
    run, queue = run_id(), subjects.queue(slug, LANE_FREE)
    sequence = await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=run)
    await (await broker.next_job(queue)).term()
    async with asyncio.timeout(BOUND_S):
        while await broker.job_exists(sequence, run):
            pass
    assert await broker.next_job(queue) is None


async def test_an_ack_may_be_repeated(broker, slug):
    await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=run_id())
    delivery = await broker.next_job(subjects.queue(slug, LANE_FREE))
    await delivery.ack()
    await delivery.ack()


async def test_a_job_is_known_by_its_run_even_when_published_anew(broker, slug):
    run = run_id()
    sequence = await broker.publish_job(subjects.job(slug, LANE_FREE), b"job", message_id=f"{run}.2")
    assert await broker.job_exists(sequence, run) is True
    assert await broker.job_exists(sequence, run_id()) is False
    assert await broker.job_exists(sequence + 10**6, run) is False
    assert await broker.job_exists(0, run) is False


async def test_depth_counts_waiting_and_taken_jobs_until_acked(broker, slug):
    for _ in range(2):
        await broker.publish_job(subjects.job(slug, LANE_PREMIUM), b"job", message_id=run_id())
    delivery = await broker.next_job(subjects.queue(slug, LANE_PREMIUM))
    assert (await broker.queue_depth(slug))[LANE_PREMIUM] == 2
    await delivery.ack()
    assert (await broker.queue_depth(slug))[LANE_PREMIUM] == 1


async def test_a_publication_wakes_the_workers_of_its_base_model_alone(broker, slug):
    async with broker.wakeups(slug) as mine, broker.wakeups(f"{slug}-other") as other:
        await broker.publish_job(subjects.job(slug, LANE_BASIC), b"job", message_id=run_id())
        assert await mine.wait(BOUND_S) is True
        assert await mine.wait(0.01) is False
        assert await other.wait(0.01) is False


async def test_a_publication_between_two_waits_is_not_missed(broker, slug):
    async with broker.wakeups(slug) as wake:
        await broker.publish_job(subjects.job(slug, LANE_BASIC), b"job", message_id=run_id())
        await broker.queue_depth(slug)
        assert await wake.wait(BOUND_S) is True


class Collector:
    """A batch handler that acks and remembers, and fails as often as it is told."""

    def __init__(self, wanted, failures=0):
        self.wanted = wanted
        self.failures = failures
        self.bodies = []
        self.batches = []
        self.done = asyncio.Event()

    async def __call__(self, deliveries):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the handler fails")
        for delivery in deliveries:
            await delivery.ack()
        self.batches.append(len(deliveries))
        self.bodies += [delivery.body for delivery in deliveries if delivery.body in self.wanted]
        if set(self.bodies) >= set(self.wanted):
            self.done.set()


async def consumed(broker, stream, durable, collector, batch=64):
    task = asyncio.create_task(broker.consume(stream, durable, collector, batch=batch))
    try:
        async with asyncio.timeout(BOUND_S):
            await collector.done.wait()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_outcomes_reach_their_consumer_in_order_in_bounded_batches(broker):
    bodies = [uuid.uuid4().bytes for _ in range(150)]
    for body in bodies:
        await broker.publish_outcome(subjects.outcome(run_id()), body, message_id=uuid.uuid4().hex)
    collector = Collector(bodies)
    await consumed(broker, "OUTCOMES", "status", collector, batch=32)
    assert collector.bodies == bodies
    assert max(collector.batches) <= 32


async def test_an_outcome_whose_handler_failed_comes_again(broker):
    body = uuid.uuid4().bytes
    collector = Collector([body], failures=1)
    await broker.publish_outcome(subjects.outcome(run_id()), body, message_id=uuid.uuid4().hex)
    await consumed(broker, "OUTCOMES", "status", collector)
    assert collector.bodies == [body]


async def test_what_comes_while_the_consumer_waits_is_handled_soon(broker):
    body = uuid.uuid4().bytes
    collector = Collector([body])

    async def publish_soon():
        await asyncio.sleep(0.1)
        await broker.publish_outcome(subjects.outcome(run_id()), body, message_id=uuid.uuid4().hex)

    publisher = asyncio.create_task(publish_soon())
    await consumed(broker, "OUTCOMES", "status", collector)
    await publisher
    assert collector.bodies == [body]


async def test_each_durable_of_events_gets_every_event(broker):
    bodies = [uuid.uuid4().bytes for _ in range(3)]
    for body in bodies:
        await broker.publish_event(subjects.event("completed", run_id()), body, message_id=uuid.uuid4().hex)
    for durable in (f"auth-{uuid.uuid4().hex}", f"webhooks-{uuid.uuid4().hex}"):
        collector = Collector(bodies)
        await consumed(broker, "EVENTS", durable, collector)
        assert collector.bodies == bodies


async def test_an_unfinished_batch_is_handed_back_when_its_consumer_ends(broker):
    body, started = uuid.uuid4().bytes, asyncio.Event()

    async def hang(deliveries):
        if any(delivery.body == body for delivery in deliveries):
            started.set()
            await asyncio.Event().wait()
        for delivery in deliveries:
            await delivery.ack()

    await broker.publish_outcome(subjects.outcome(run_id()), body, message_id=uuid.uuid4().hex)
    task = asyncio.create_task(broker.consume("OUTCOMES", "status", hang))
    async with asyncio.timeout(BOUND_S):
        await started.wait()
    task.cancel()
    await asyncio.wait({task})
    collector = Collector([body])
    await consumed(broker, "OUTCOMES", "status", collector)
    assert collector.bodies == [body]


async def test_hints_reach_those_who_listen_until_they_close(broker):
    run, heard, news = run_id(), [], asyncio.Event()

    async def listen(subject, body):
        heard.append((subject, body))
        news.set()

    subscription = await broker.subscribe(subjects.EVERY_PROGRESS, listen)
    await broker.emit(subjects.change(run), b"not this")
    await broker.emit(subjects.progress(run), b"step 1")
    async with asyncio.timeout(BOUND_S):
        await news.wait()
    await subscription.close()
    await subscription.close()
    await broker.emit(subjects.progress(run), b"step 2")
    await broker.queue_depth("any")
    assert heard == [(subjects.progress(run), b"step 1")]


async def test_a_handler_that_fails_still_hears_the_next_hint(broker):
    run, heard = run_id(), asyncio.Event()

    async def listen(_subject, body):
        if body == b"bad":
            raise ValueError("bad hint")
        heard.set()

    await broker.subscribe(subjects.progress(run), listen)
    await broker.emit(subjects.progress(run), b"bad")
    await broker.emit(subjects.progress(run), b"good")
    async with asyncio.timeout(BOUND_S):
        await heard.wait()


async def test_many_publications_at_once_are_all_stored(broker, slug):
    subject = subjects.job(slug, LANE_FREE)
    jobs = [broker.publish_job(subject, b"job", message_id=run_id()) for _ in range(1000)]
    assert len(set(await asyncio.gather(*jobs))) == 1000


async def test_a_closed_broker_is_not_connected(broker):
    assert broker.connected
    assert broker.connections_count == 1
    await broker.close()
    assert not broker.connected
    await broker.close()
