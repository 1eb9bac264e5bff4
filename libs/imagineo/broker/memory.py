"""The broker's twin in memory, for one process: the same promises as JetStream's, kept by the same contract tests.

Beyond the port it can be taken away (`disconnect`, `reconnect`) and made to forget (`lose_store`). Events do not age.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from imagineo.broker import subjects
from imagineo.broker.memory_hints import MemorySubscription, MemoryWakeup
from imagineo.broker.port import BatchHandler, Delivery, HintHandler, Stream
from imagineo.errors import Unavailable
from imagineo.telemetry import tracing
from imagineo.v1 import job_pb2

_log = logging.getLogger(__name__)

_DEDUPE_S: Final = 120.0
_BATCH_ACK_WAIT_S: Final = 30.0
_REDELIVER_S: Final = 1.0
_FILTERS: Final[dict[Stream, str]] = {"OUTCOMES": subjects.OUTCOMES, "EVENTS": subjects.EVENTS}


@dataclass
class _Message:
    subject: str
    body: bytes
    message_id: str
    stored_at_s: float
    trace: Mapping[str, str]


@dataclass
class _Stored:
    """A stream: its messages in order of sequence, and what ids it saw."""

    keeps_acked: bool
    messages: dict[int, _Message] = field(default_factory=dict)
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    last_sequence: int = 0


@dataclass
class _Queue:
    """A durable consumer: what it delivered, and when each may come again."""

    stream: _Stored
    pattern: str
    ack_wait_s: float
    delivered: dict[int, int] = field(default_factory=dict)
    due_at_s: dict[int, float] = field(default_factory=dict)
    acked: set[int] = field(default_factory=set)

    def waiting(self) -> list[int]:
        """Give the sequences that are not settled."""
        found = self.stream.messages.items()
        return [
            seq for seq, message in found if seq not in self.acked and subjects.matches(self.pattern, message.subject)
        ]


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
        self._streams = {"JOBS": _Stored(keeps_acked=False), "OUTCOMES": _Stored(False), "EVENTS": _Stored(True)}
        self._queues: dict[tuple[str, str], _Queue] = {}

    def _stir(self) -> None:
        for event in self._stirred:
            event.set()

    def require(self) -> None:
        """Raise Unavailable while the broker is away."""
        if not self._online:
            raise Unavailable("The queue is away for the moment.", metadata={"dependency": "nats"})

    def _queue(self, stream: str, durable: str, pattern: str, ack_wait_s: float) -> _Queue:
        fresh = _Queue(self._streams[stream], pattern, ack_wait_s)
        return self._queues.setdefault((stream, durable), fresh)

    async def ensure_queue(self, base_model_slug: str) -> None:
        """See `port.Broker`."""
        for lane in subjects.LANES:
            name, subject = subjects.queue(base_model_slug, lane), subjects.job(base_model_slug, lane)
            self._queue("JOBS", name, subject, self._ack_wait_s)

    def _publish(self, stream: str, subject: str, body: bytes, message_id: str) -> int:
        self.require()
        stored, now_s = self._streams[stream], self._clock()
        before = stored.seen.get(message_id)
        if before is not None and now_s - before[1] < _DEDUPE_S:
            return before[0]
        stored.last_sequence += 1
        stored.messages[stored.last_sequence] = _Message(subject, body, message_id, now_s, tracing.carrier())
        stored.seen[message_id] = (stored.last_sequence, now_s)
        self._pass_on(subject, body)
        self._stir()
        return stored.last_sequence

    async def publish_job(self, subject: str, body: bytes, *, message_id: str) -> int:
        """See `port.Broker`."""
        return self._publish("JOBS", subject, body, message_id)

    async def publish_outcome(self, subject: str, body: bytes, *, message_id: str) -> None:
        """See `port.Broker`."""
        self._publish("OUTCOMES", subject, body, message_id)

    async def publish_event(self, subject: str, body: bytes, *, message_id: str) -> None:
        """See `port.Broker`."""
        self._publish("EVENTS", subject, body, message_id)

    def _take(self, queue: _Queue, count: int) -> list[MemoryDelivery]:
        now_s, taken = self._clock(), []
        for sequence in queue.waiting():
            if queue.due_at_s.get(sequence, 0.0) > now_s:
                continue
            queue.due_at_s[sequence] = now_s + queue.ack_wait_s
            queue.delivered[sequence] = queue.delivered.get(sequence, 0) + 1
            message = queue.stream.messages[sequence]
            times = queue.delivered[sequence]
            taken.append(
                MemoryDelivery(message.body, message.subject, times, self, queue, sequence, trace=message.trace)
            )
            if len(taken) == count:
                break
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
            due_at_s = min((queue.due_at_s.get(seq, 0.0) for seq in queue.waiting()), default=float("inf"))
            wait_s = min(max(due_at_s - self._clock(), 0.01), 1.0)
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

    def settle(self, queue: _Queue, sequence: int) -> None:
        """Remove a message for one consumer; from a work queue, for good."""
        queue.acked.add(sequence)
        if not queue.stream.keeps_acked:
            queue.stream.messages.pop(sequence, None)

    def postpone(self, queue: _Queue, sequence: int, wait_s: float) -> None:
        """Let a message come again in so long."""
        queue.due_at_s[sequence] = self._clock() + wait_s
        self._stir()


async def _hand_back(deliveries: list[MemoryDelivery], delay_s: float) -> None:
    for delivery in deliveries:
        if not delivery.settled:
            await delivery.nak(delay_s)


@dataclass(eq=False)
class MemoryDelivery(Delivery):
    """See `port.Delivery`."""

    _broker: MemoryBroker
    _queue: _Queue
    _sequence: int
    #: Acked, handed back or given up.
    settled: bool = field(default=False, init=False)

    async def in_progress(self) -> None:
        """See `port.Delivery`."""
        if self._broker.connected:
            self._broker.postpone(self._queue, self._sequence, self._queue.ack_wait_s)

    async def ack(self) -> None:
        """See `port.Delivery`."""
        self._broker.require()
        self.settled = True
        self._broker.settle(self._queue, self._sequence)

    async def nak(self, delay_s: float = 0.0) -> None:
        """See `port.Delivery`."""
        self.settled = True
        if self._broker.connected:
            self._broker.postpone(self._queue, self._sequence, delay_s)

    async def term(self) -> None:
        """See `port.Delivery`."""
        self.settled = True
        if self._broker.connected:
            self._broker.settle(self._queue, self._sequence)
