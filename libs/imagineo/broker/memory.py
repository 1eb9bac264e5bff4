"""The broker's twin in memory, for one process: the same promises as JetStream's, kept by the same contract tests.

Beyond the port it can be taken away (`disconnect`, `reconnect`) and made to forget (`lose_store`). Events do not age.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from imagineo.broker import subjects
from imagineo.broker.memory_hints import MemorySubscription, MemoryWakeup
from imagineo.broker.memory_streams import MemoryDelivery, MemoryQueue, MemoryStream
from imagineo.broker.port import BatchHandler, Delivery, HintHandler, Stream
from imagineo.errors import Unavailable
from imagineo.v1 import job_pb2

_log = logging.getLogger(__name__)

_BATCH_ACK_WAIT_S: Final = 30.0
_REDELIVER_S: Final = 1.0
_FILTERS: Final[dict[Stream, str]] = {"OUTCOMES": subjects.OUTCOMES, "EVENTS": subjects.EVENTS}


class MemoryBroker:
    """See `port.Broker`. It belongs to one event loop."""

    def __init__(self, *, ack_wait_s: float = subjects.ACK_WAIT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._ack_wait_s = ack_wait_s
        self._clock = clock
        self._online = True
        self._connections_count = 1
        self._listeners: set[MemorySubscription] = set()
        self._stirred: set[asyncio.Event] = set()
        self._wakeups: set[asyncio.Event] = set()
        self.lose_store()

    @property
    def connected(self) -> bool:
        """Tell whether the broker can be spoken to now."""
        return self._online

    @property
    def connections_count(self) -> int:
        """See `port.Broker`."""
        return self._connections_count

    def disconnect(self) -> None:
        """Take the broker away."""
        self._online = False

    def reconnect(self) -> None:
        """Bring the broker back."""
        self._online = True
        self._connections_count += 1
        self._stir()
        for event in self._wakeups:
            event.set()

    def lose_store(self) -> None:
        """Forget all streams."""
        keeps_acked = {"JOBS": False, "OUTCOMES": False, "EVENTS": True}
        self._streams = {name: MemoryStream(keeps) for name, keeps in keeps_acked.items()}
        self._queues: dict[tuple[str, str], MemoryQueue] = {}

    def _stir(self) -> None:
        for event in self._stirred:
            event.set()

    def require(self) -> None:
        """Raise Unavailable while the broker is away."""
        if not self._online:
            raise Unavailable("The queue is away for the moment.", metadata={"dependency": "nats"})

    def _queue(self, stream: str, durable: str, pattern: str, ack_wait_s: float) -> MemoryQueue:
        fresh = MemoryQueue(self._streams[stream], pattern, ack_wait_s)
        return self._queues.setdefault((stream, durable), fresh)

    async def ensure_queue(self, base_model_slug: str) -> None:
        """See `port.Broker`."""
        for lane in subjects.LANES:
            name, subject = subjects.queue(base_model_slug, lane), subjects.job(base_model_slug, lane)
            self._queue("JOBS", name, subject, self._ack_wait_s)

    def _publish(self, stream: str, subject: str, body: bytes, message_id: str) -> int:
        self.require()
        sequence, is_new = self._streams[stream].add(subject, body, message_id, self._clock())
        if is_new:
            self._pass_on(subject, body)
            self._stir()
        return sequence

    async def publish_job(self, subject: str, body: bytes, *, message_id: str) -> int:
        """See `port.Broker`."""
        return self._publish("JOBS", subject, body, message_id)

    async def publish_outcome(self, subject: str, body: bytes, *, message_id: str) -> None:
        """See `port.Broker`."""
        self._publish("OUTCOMES", subject, body, message_id)

    async def publish_event(self, subject: str, body: bytes, *, message_id: str) -> None:
        """See `port.Broker`."""
        self._publish("EVENTS", subject, body, message_id)

    def _take(self, queue: MemoryQueue, count: int) -> list[MemoryDelivery]:
        taken = []
        for sequence in queue.take(count, self._clock()):
            message, times = queue.stream.messages[sequence], queue.delivered[sequence]
            taken.append(
                MemoryDelivery(message.body, message.subject, times, self, queue, sequence, trace=message.trace)
            )
        return taken

    async def next_job(self, queue: str) -> Delivery | None:
        """See `port.Broker`."""
        self.require()
        found = self._take(self._queue("JOBS", queue, subjects.queue_subject(queue), self._ack_wait_s), 1)
        return found[0] if found else None

    @contextlib.asynccontextmanager
    async def wakeups(self, base_model_slug: str) -> AsyncIterator[MemoryWakeup]:
        """See `port.Broker`."""
        event = asyncio.Event()
        wakeup = MemoryWakeup(event)

        async def wake(_subject: str, _body: bytes) -> None:
            event.set()

        subscription = await self.subscribe(subjects.jobs_of(base_model_slug), wake)
        self._wakeups.add(event)
        try:
            yield wakeup
        finally:
            self._wakeups.discard(event)
            await subscription.close()

    async def job_exists(self, stream_sequence: int, run_id: str) -> bool | None:
        """See `port.Broker`."""
        if not self._online:
            return None
        message = self._streams["JOBS"].messages.get(stream_sequence)
        return message is not None and message.message_id.partition(".")[0] == run_id

    async def queue_depth(self, base_model_slug: str) -> dict[job_pb2.Lane.ValueType, int]:
        """See `port.Broker`."""
        self.require()
        held = [message.subject for message in self._streams["JOBS"].messages.values()]
        return {lane: held.count(subjects.job(base_model_slug, lane)) for lane in subjects.LANES}

    async def consume(self, stream: Stream, durable: str, handler: BatchHandler, *, batch: int = 64) -> None:
        """See `port.Broker`."""
        stirred = asyncio.Event()
        self._stirred.add(stirred)
        try:
            while True:
                deliveries = await self._next_batch(stream, durable, batch, stirred)
                try:
                    await handler([*deliveries])
                except Exception:  # noqa: BLE001  # whatever it was, the batch comes again
                    _log.exception("a batch of broker messages failed", extra={"consumer": durable})
                    await _hand_back(deliveries, _REDELIVER_S)
                except BaseException:
                    await _hand_back(deliveries, 0.0)
                    raise
        finally:
            self._stirred.discard(stirred)

    async def _next_batch(
        self, stream: Stream, durable: str, batch: int, stirred: asyncio.Event
    ) -> list[MemoryDelivery]:
        while True:
            queue = self._queue(stream, durable, _FILTERS[stream], _BATCH_ACK_WAIT_S)
            if self._online and (deliveries := self._take(queue, batch)):
                return deliveries
            wait_s = min(max(queue.next_due_s() - self._clock(), 0.01), 1.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stirred.wait()
            stirred.clear()

    def _pass_on(self, subject: str, body: bytes) -> None:
        for listener in self._listeners:
            listener.offer(subject, body)

    async def emit(self, subject: str, body: bytes) -> None:
        """See `port.Broker`."""
        if self._online:
            self._pass_on(subject, body)

    async def subscribe(self, subject: str, handler: HintHandler) -> MemorySubscription:
        """See `port.Broker`."""
        subscription = MemorySubscription(subject, handler, self._listeners)
        self._listeners.add(subscription)
        return subscription

    async def check(self) -> None:
        """See `port.Broker`."""
        if not self._online:
            raise Unavailable("The queue is away for the moment.")

    async def close(self) -> None:
        """Let go of the broker; may be called again."""
        self._online = False
        for listener in tuple(self._listeners):
            await listener.close()

    def postpone(self, queue: MemoryQueue, sequence: int, wait_s: float) -> None:
        """Let a message come again in so long."""
        queue.postpone(sequence, self._clock() + wait_s)
        self._stir()


async def _hand_back(deliveries: list[MemoryDelivery], delay_s: float) -> None:
    for delivery in deliveries:
        if not delivery.settled:
            await delivery.nak(delay_s)
