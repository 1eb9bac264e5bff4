"""What the services may ask of the broker. `JetStreamBroker` is the real one, `MemoryBroker` the twin for one process.

Three kinds of message: jobs (a work queue, one durable consumer per base model and lane), outcomes and events (durable
streams, at least once) and hints on core NATS (lossy). Delivery is at least once everywhere: fencing is the claim's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from imagineo.v1 import job_pb2

Stream = Literal["OUTCOMES", "EVENTS"]
HintHandler = Callable[[str, bytes], Awaitable[None]]


@dataclass(eq=False)
class Delivery(ABC):
    """One delivery of one durable message; it comes again unless acked or terminated before its time is up."""

    #: The serialized message.
    body: bytes
    #: Where it was published.
    subject: str
    #: How often it was delivered, this one included.
    delivered_count: int
    #: What the publisher's trace left with it; see `telemetry.tracing`.
    trace: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @abstractmethod
    async def in_progress(self) -> None:
        """Start the delivery's time anew; lost while the broker is away."""

    @abstractmethod
    async def ack(self) -> None:
        """Remove the message for good, and know it; may be called again after a failure.

        Raises:
            Unavailable: if the broker did not confirm; the message may come again.
        """

    @abstractmethod
    async def nak(self, delay_s: float = 0.0) -> None:
        """Hand the message back, to come again after `delay_s`; if lost, it comes again when its time is up."""

    @abstractmethod
    async def term(self) -> None:
        """Give the message up: it never comes again; if lost, it comes again when its time is up."""


BatchHandler = Callable[[list[Delivery]], Awaitable[None]]


class Subscription(Protocol):
    """Hints flow to a handler until it is closed; it survives reconnects, what came meanwhile is lost."""

    async def close(self) -> None:
        """End it; may be called again."""


class Wakeup(Protocol):
    """Says that there may be a job."""

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a job's publication, or a reconnect, since the last wait; False when the time is up."""


class Broker(Protocol):
    """The broker as the services see it. All calls are bounded; tasks of one event loop may share it."""

    @property
    def connected(self) -> bool:
        """Tell whether the broker can be spoken to now."""

    @property
    def connections_count(self) -> int:
        """How often it was connected to: whoever sees it grow knows that the broker may have lost its store."""

    async def check(self) -> None:
        """Return while there is a connection: a readiness check.

        Raises:
            Unavailable: if there is none now.
        """

    async def ensure_queue(self, base_model_slug: str) -> None:
        """Make the streams and the base model's queues where they are missing, now and after each reconnect.

        While the broker is away this returns, and the queues are made once it is back.
        """

    async def publish_job(self, subject: str, body: bytes, *, message_id: str) -> int:
        """Store a job; the same message id within two minutes stores nothing new. Returns its stream sequence.

        Raises:
            Unavailable: at once if disconnected, within a second otherwise; it may have been stored.
        """

    async def next_job(self, queue: str) -> Delivery | None:
        """Take the next job of a queue (`subjects.queue`), or None if it is empty.

        Raises:
            Unavailable: if the broker did not answer within a second.
        """

    def wakeups(self, base_model_slug: str) -> AbstractAsyncContextManager[Wakeup]:
        """Listen for jobs of one base model while the block runs: a hint, polling stays needed."""

    async def job_exists(self, stream_sequence: int, run_id: str) -> bool | None:
        """Tell whether the run's job still stands at this sequence; None if the broker cannot tell now."""

    async def queue_depth(self, base_model_slug: str) -> dict[job_pb2.Lane.ValueType, int]:
        """Count the jobs that are not yet acked, waiting or running, by lane.

        Raises:
            Unavailable: if the broker did not answer within a second.
        """

    async def publish_outcome(self, subject: str, body: bytes, *, message_id: str) -> None:
        """Store an outcome; the caller retries.

        Raises:
            Unavailable: as `publish_job`.
        """

    async def publish_event(self, subject: str, body: bytes, *, message_id: str) -> None:
        """Store an event for 72 hours; the caller retries.

        Raises:
            Unavailable: as `publish_job`.
        """

    async def consume(self, stream: Stream, durable: str, handler: BatchHandler, *, batch: int = 64) -> None:
        """Feed a durable consumer's messages to the handler, in batches, until cancelled; survives reconnects.

        The handler acks each delivery; if it raises, what it left unsettled comes again after a second.
        """

    async def emit(self, subject: str, body: bytes) -> None:
        """Send a hint to whoever listens; lost, without an error, while the broker is away."""

    async def subscribe(self, subject: str, handler: HintHandler) -> Subscription:
        """Feed hints on a subject (wildcards allowed) to the handler, one after the other."""

    async def close(self) -> None:
        """Let go of the broker; may be called again."""
