"""The broker on NATS JetStream. The connection is `connection`'s, the streams' shape `streams`', batches `consumer`'s.

A publication counts once the server acked it; a job removed counts once the server confirmed it. Jobs are pulled one
at a time by requests that never wait at the server: nothing is left there that could swallow the next job.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from nats.aio.msg import Msg

from imagineo.broker import streams, subjects
from imagineo.broker.access import NatsAccess
from imagineo.broker.connection import PING_INTERVAL_S, REQUEST_TIMEOUT_S, Connection, Listener, away
from imagineo.broker.consumer import run_consumer
from imagineo.broker.delivery import JetStreamDelivery
from imagineo.broker.job_pull import MISSING, JobPull
from imagineo.broker.port import BatchHandler, Delivery, HintHandler, Stream
from imagineo.errors import Unavailable
from imagineo.telemetry import tracing
from imagineo.v1 import job_pb2

_log = logging.getLogger(__name__)

#: Publishers in the air at once; more only makes each of them slower.
_MAX_IN_FLIGHT: Final = 256
_CONNECT_WAIT_S: Final = 2.0
_ENSURE_RETRY_S: Final = 1.0
#: An outcome or event that its handler neither acks nor hands back comes again after so long.
_BATCH_ACK_WAIT_S: Final = 30.0
_FILTERS: Final[dict[Stream, str]] = {"OUTCOMES": subjects.OUTCOMES, "EVENTS": subjects.EVENTS}


class JetStreamBroker:
    """See `port.Broker`. Made by `connect` inside the event loop that uses it."""

    def __init__(self, connection: Connection, *, ack_wait_s: float, makes_streams: bool, replicas: int = 0) -> None:
        self._connection = connection
        self._makes_streams = makes_streams
        self._replicas = replicas
        self._ack_wait_s = ack_wait_s
        self._in_flight = asyncio.Semaphore(_MAX_IN_FLIGHT)
        #: What shall be there, by stream and durable name.
        self._consumers: dict[tuple[str, str], dict[str, Any]] = {}
        self._pulls: dict[str, JobPull] = {}
        self._adrift = asyncio.Event()
        self._ready = asyncio.Event()
        self._wakeups: set[JetStreamWakeup] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._connections_count = 0

    @classmethod
    async def connect(
        cls,
        servers: str,
        *,
        name: str,
        access: NatsAccess | None = None,
        makes_streams: bool = True,
        replicas: int = 0,
        ack_wait_s: float = subjects.ACK_WAIT_S,
        wait_s: float = _CONNECT_WAIT_S,
        ping_interval_s: float = PING_INTERVAL_S,
    ) -> JetStreamBroker:
        """Connect to the servers (`nats://host:port`, comma-separated) as `name`.

        Returns once the streams stand, or after `wait_s` without them: connecting goes on for ever. Whoever does not
        make streams waits for the program that does, and needs no permission to. Streams are kept on so many servers as
        `replicas` says; 0 leaves that to the server and its operator.
        """
        connection = Connection(servers, name=name, access=access or NatsAccess(), ping_interval_s=ping_interval_s)
        broker = cls(connection, ack_wait_s=ack_wait_s, makes_streams=makes_streams, replicas=replicas)
        connection.greeters.add(broker._greet)
        broker._keeper = asyncio.create_task(broker._keep_shape(), name="broker-shape")
        connection.open()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await broker._ready.wait()
        return broker

    @property
    def connected(self) -> bool:
        """Tell whether the broker can be spoken to now."""
        return self._connection.connected

    @property
    def connections_count(self) -> int:
        """See `port.Broker`."""
        return self._connections_count

    async def check(self) -> None:
        """See `port.Broker`."""
        if not self.connected:
            raise away()

    async def close(self) -> None:
        """Let go of the broker; may be called again."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        await self._connection.close()

    def _greet(self) -> None:
        """Make all anew on a new connection: the server may have lost its store."""
        self._connections_count += 1
        self._adrift.set()
        for wakeup in self._wakeups:
            wakeup.wake()

    async def _keep_shape(self) -> None:
        while True:
            await self._adrift.wait()
            self._adrift.clear()
            try:
                await self._make_shape()
                self._ready.set()
            except Unavailable as problem:
                if self.connected:
                    _log.warning("the streams could not be made: %s", problem)
                    self._adrift.set()
                    await asyncio.sleep(_ENSURE_RETRY_S)

    async def _make_shape(self) -> None:
        await self._make_streams()
        wanted = [(stream, shape) for (stream, _), shape in self._consumers.items()]
        await asyncio.gather(*(streams.ensure_consumer(self._connection, stream, shape) for stream, shape in wanted))

    async def _make_streams(self) -> None:
        if self._makes_streams:
            await streams.ensure_streams(self._connection, replicas=self._replicas)

    async def _want_consumer(self, stream: str, shape: dict[str, Any]) -> None:
        self._consumers[stream, shape["name"]] = shape
        try:
            await self._make_streams()
            await streams.ensure_consumer(self._connection, stream, shape)
        except Unavailable:
            self._adrift.set()

    async def _want_queue(self, queue: str) -> None:
        shape = streams.consumer(queue, filter_subject=subjects.queue_subject(queue), ack_wait_s=self._ack_wait_s)
        await self._want_consumer("JOBS", shape)

    async def ensure_queue(self, base_model_slug: str) -> None:
        """See `port.Broker`."""
        for lane in subjects.LANES:
            await self._want_queue(subjects.queue(base_model_slug, lane))

    async def make_queue(self, base_model_slug: str) -> None:
        """Make a base model's queues now, for whoever must know that they are there.

        Raises:
            Unavailable: if the broker is away or refuses.
        """
        await self.ensure_queue(base_model_slug)
        await self._make_shape()

    async def _publish(self, subject: str, body: bytes, message_id: str) -> int:
        if not tracing.is_on():
            return await self._send(subject, body, message_id)
        attributes = {
            "messaging.system": "nats",
            "messaging.operation.type": "send",
            "messaging.destination.name": subject,
            "messaging.message.id": message_id,
        }
        with tracing.span(f"send {subjects.kind(subject)}", attributes, kind="PRODUCER"):
            return await self._send(subject, body, message_id)

    async def _send(self, subject: str, body: bytes, message_id: str) -> int:
        if not self.connected:
            raise away()
        due_s = asyncio.get_running_loop().time() + REQUEST_TIMEOUT_S
        try:
            async with asyncio.timeout_at(due_s):
                await self._in_flight.acquire()
        except TimeoutError:
            raise away("The queue takes no more publications for the moment.") from None
        try:
            left_s = due_s - asyncio.get_running_loop().time()
            headers = {"Nats-Msg-Id": message_id, **tracing.carrier()}
            reply = await self._connection.request(subject, body, headers=headers, timeout_s=left_s)
            return int(streams.parse_reply(reply.data)["seq"])
        except Unavailable:
            self._adrift.set()  # the stream may be gone
            raise
        finally:
            self._in_flight.release()

    async def publish_job(self, subject: str, body: bytes, *, message_id: str) -> int:
        """See `port.Broker`."""
        return await self._publish(subject, body, message_id)

    async def publish_outcome(self, subject: str, body: bytes, *, message_id: str) -> None:
        """See `port.Broker`."""
        await self._publish(subject, body, message_id)

    async def publish_event(self, subject: str, body: bytes, *, message_id: str) -> None:
        """See `port.Broker`."""
        await self._publish(subject, body, message_id)

    async def next_job(self, queue: str) -> Delivery | None:
        """See `port.Broker`."""
        pull = self._pulls.get(queue)
        if pull is None:
            pull = self._pulls[queue] = JobPull(self._connection, queue)
            await self._want_queue(queue)
        message = await self._ask(pull)
        if (message.headers or {}).get("Status") in MISSING:
            await self._make_shape()
            message = await self._ask(pull)
        status = (message.headers or {}).get("Status")
        if status in MISSING:
            raise away("The queue is not set up.")
        return JetStreamDelivery.of(message, self._connection) if status is None else None

    async def _ask(self, pull: JobPull) -> Msg:
        try:
            return await pull.ask()
        except Unavailable:
            self._adrift.set()  # the queue may be gone
            raise

    @contextlib.asynccontextmanager
    async def wakeups(self, base_model_slug: str) -> AsyncIterator[JetStreamWakeup]:
        """See `port.Broker`."""
        wakeup = JetStreamWakeup()
        listener = await self._connection.listen(subjects.jobs_of(base_model_slug), wakeup.on_message)
        self._wakeups.add(wakeup)
        try:
            yield wakeup
        finally:
            self._wakeups.discard(wakeup)
            await listener.close()

    async def job_exists(self, stream_sequence: int, run_id: str) -> bool | None:
        """See `port.Broker`."""
        if stream_sequence <= 0:
            return False
        body = json.dumps({"seq": stream_sequence}).encode()
        try:
            message = await self._connection.request("$JS.API.DIRECT.GET.JOBS", body)
        except Unavailable:
            return None
        headers = message.headers or {}
        if headers.get("Status") == "404":
            return False
        message_id = headers.get("Nats-Msg-Id")
        if message_id is None:  # no stream, or one that does not answer
            self._adrift.set()
            return None
        return bool(message_id.partition(".")[0] == run_id)

    async def queue_depth(self, base_model_slug: str) -> dict[job_pb2.Lane.ValueType, int]:
        """See `port.Broker`."""
        request = {"subjects_filter": subjects.jobs_of(base_model_slug)}
        info = await streams.api(self._connection, "STREAM.INFO.JOBS", request)
        counts = info["state"].get("subjects") or {}
        return {lane: int(counts.get(subjects.job(base_model_slug, lane), 0)) for lane in subjects.LANES}

    async def consume(self, stream: Stream, durable: str, handler: BatchHandler, *, batch: int = 64) -> None:
        """See `port.Broker`."""
        shape = streams.consumer(durable, filter_subject=_FILTERS[stream], ack_wait_s=_BATCH_ACK_WAIT_S)
        await self._want_consumer(stream, shape)
        pull_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        await run_consumer(self._connection, pull_subject, handler, batch=batch, mend=self._make_shape)

    async def emit(self, subject: str, body: bytes) -> None:
        """See `port.Broker`."""
        with contextlib.suppress(Unavailable):
            await self._connection.send(subject, body)

    async def subscribe(self, subject: str, handler: HintHandler) -> Listener:
        """See `port.Broker`."""

        async def on_message(message: Msg) -> None:
            await handler(message.subject, message.data)

        return await self._connection.listen(subject, on_message)


@dataclass(eq=False)
class JetStreamWakeup:
    """See `port.Wakeup`: any copy of a publication that passes by sets it."""

    _called: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """End the wait of now, or the next one."""
        self._called.set()

    async def on_message(self, _message: Msg) -> None:
        """Take a publication as a hint."""
        self.wake()

    async def wait(self, timeout_s: float) -> bool:
        """See `port.Wakeup`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._called.wait()
        except TimeoutError:
            return False
        self._called.clear()
        return True
