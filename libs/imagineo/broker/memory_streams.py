"""The streams of the broker in memory: what they store, what each durable consumer was given, how it is settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from imagineo.broker import subjects
from imagineo.broker.port import Delivery
from imagineo.telemetry import tracing

_DEDUPE_S: Final = 120.0


@dataclass
class StoredMessage:
    """One message as it was published."""

    subject: str
    body: bytes
    message_id: str
    trace: Mapping[str, str]


@dataclass
class MemoryStream:
    """A stream: its messages in order of sequence, and what ids it saw."""

    keeps_acked: bool
    messages: dict[int, StoredMessage] = field(default_factory=dict)
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    _last_sequence: int = 0

    def add(self, subject: str, body: bytes, message_id: str, now_s: float) -> tuple[int, bool]:
        """Store a message; gives its sequence, and whether it is new."""
        before = self._seen.get(message_id)
        if before is not None and now_s - before[1] < _DEDUPE_S:
            return before[0], False
        self._last_sequence += 1
        self.messages[self._last_sequence] = StoredMessage(subject, body, message_id, tracing.carrier())
        self._seen[message_id] = (self._last_sequence, now_s)
        return self._last_sequence, True


@dataclass
class MemoryQueue:
    """A durable consumer: what it delivered, and when each may come again."""

    stream: MemoryStream
    pattern: str
    ack_wait_s: float
    delivered: dict[int, int] = field(default_factory=dict)
    _due_at_s: dict[int, float] = field(default_factory=dict)
    _acked: set[int] = field(default_factory=set)

    def next_due_s(self) -> float:
        """When the next of what is not settled may come; infinite where there is nothing."""
        return min((self._due_at_s.get(sequence, 0.0) for sequence in self._waiting()), default=float("inf"))

    def take(self, count: int, now_s: float) -> list[int]:
        """Deliver what may come now: the sequences of so many messages at most."""
        taken: list[int] = []
        for sequence in self._waiting():
            if len(taken) == count:
                break
            if self._due_at_s.get(sequence, 0.0) > now_s:
                continue
            self.postpone(sequence, now_s + self.ack_wait_s)
            self.delivered[sequence] = self.delivered.get(sequence, 0) + 1
            taken.append(sequence)
        return taken

    def settle(self, sequence: int) -> None:
        """Remove a message for this consumer; from a work queue, for good."""
        self._acked.add(sequence)
        if not self.stream.keeps_acked:
            self.stream.messages.pop(sequence, None)

    def postpone(self, sequence: int, due_at_s: float) -> None:
        """Let a message come again then."""
        self._due_at_s[sequence] = due_at_s

    def _waiting(self) -> Iterator[int]:
        for sequence, message in self.stream.messages.items():
            if sequence not in self._acked and subjects.matches(self.pattern, message.subject):
                yield sequence


class Connection(Protocol):
    """What a delivery asks of its broker."""

    @property
    def connected(self) -> bool:
        """Whether it can be spoken to."""

    def require(self) -> None:
        """Raise Unavailable while it is away."""

    def postpone(self, queue: MemoryQueue, sequence: int, wait_s: float) -> None:
        """Let a message come again in so long."""


@dataclass(eq=False)
class MemoryDelivery(Delivery):
    """See `port.Delivery`."""

    _broker: Connection
    _queue: MemoryQueue
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
        self._queue.settle(self._sequence)

    async def nak(self, delay_s: float = 0.0) -> None:
        """See `port.Delivery`."""
        self.settled = True
        if self._broker.connected:
            self._broker.postpone(self._queue, self._sequence, delay_s)

    async def term(self) -> None:
        """See `port.Delivery`."""
        self.settled = True
        if self._broker.connected:
            self._queue.settle(self._sequence)
