"""Owns the connection to NATS: keeps it for ever, carries requests and subscriptions over it, fails fast without it.

Each connection is a fresh client that may not reconnect by itself: nats-py's own reconnecting ends for good on some
server errors, keeps commands for later that their callers gave up long ago, and leaves requests waiting for a reply
that cannot come. Here a lost connection fails what is in the air at once. What is said over it is `jetstream`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from prometheus_client import Counter, Gauge

from imagineo.broker import subjects
from imagineo.broker.access import NatsAccess
from imagineo.errors import Internal, Unavailable

_log = logging.getLogger(__name__)

_ERRORS: Final = Counter("imagineo_broker_errors_total", "Errors of the connection to the broker.", ["kind"])
_ERRORS.labels("permissions_violation")  # from 0 on, lest the first is overlooked
_CONNECTED: Final = Gauge("imagineo_broker_connected", "1 while the broker can be spoken to.")

#: A request without an answer for so long has failed.
REQUEST_TIMEOUT_S: Final = 1.0
_CONNECT_TIMEOUT_S: Final = 2
_RETRY_MIN_S: Final = 0.05
_RETRY_MAX_S: Final = 1.0
#: Two unanswered pings, one each so many seconds, end a half-open connection.
PING_INTERVAL_S: Final = 5.0
#: How often to look whether a connection ended without saying so; how long its end may take.
_LOOK_S: Final = 0.5
_CLOSE_TIMEOUT_S: Final = 1.0

MessageHandler = Callable[[Msg], Awaitable[None]]


def away(problem: str = "The queue is away for the moment.") -> Unavailable:
    """Make the error that all of this module's failures read as."""
    return Unavailable(problem, metadata={"dependency": "nats"})


class Listener:
    """A subscription that is made again on each new connection."""

    def __init__(self, connection: Connection, subject: str, handler: MessageHandler) -> None:
        self._connection = connection
        self._handler = handler
        self._subject = subject
        self._live: Any = None

    async def attach(self, client: Client) -> None:
        """Subscribe on a new connection."""
        self._live = await client.subscribe(self._subject, cb=self._handle)

    async def _handle(self, message: Msg) -> None:
        try:
            await self._handler(message)
        except Exception:  # noqa: BLE001  # one bad message must not end the subscription
            _ERRORS.labels("handler").inc()
            _log.exception("a handler of broker messages failed", extra={"subject": message.subject})

    async def close(self) -> None:
        """End the subscription; may be called again."""
        self._connection.listeners.discard(self)
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await live.unsubscribe()


class Connection:
    """One program's connection to the broker. All methods belong to the event loop that opened it."""

    def __init__(
        self,
        servers: str,
        *,
        name: str,
        access: NatsAccess,
        ping_interval_s: float = PING_INTERVAL_S,
    ) -> None:
        self._servers = [server.strip() for server in servers.split(",") if server.strip()]
        self._name = name
        self._access = access
        self._ping_interval_s = ping_interval_s
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tokens = itertools.count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._inbox = f"{subjects.inboxes(name)}.{random.getrandbits(64):016x}"
        self.listeners: set[Listener] = set()
        self.listeners.add(Listener(self, f"{self._inbox}.*", self._take_reply))
        #: Called with each new connection, once the listeners stand.
        self.greeters: set[Callable[[], None]] = set()

    @property
    def connected(self) -> bool:
        """Tell whether there is a connection now."""
        return self._client is not None and self._client.is_connected

    def open(self) -> None:
        """Start connecting, for ever; returns at once."""
        self._keeper = asyncio.create_task(self._keep(), name="broker-connection")

    async def close(self) -> None:
        """Stop connecting and let go; what is in the air fails."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None

    def new_inbox(self) -> str:
        """Make a subject below this connection's own inbox; two tokens deep, apart from the replies to requests."""
        return f"{self._inbox}.pull.{next(self._tokens)}"

    async def listen(self, subject: str, handler: MessageHandler) -> Listener:
        """Feed a subject's messages to a handler on this and all later connections."""
        listener = Listener(self, subject, handler)
        self.listeners.add(listener)
        if self._client is not None:
            with contextlib.suppress(nats.errors.Error, OSError):  # the next connection attaches it
                await listener.attach(self._client)
        return listener

    async def send(self, subject: str, body: bytes = b"", *, reply: str = "") -> None:
        """Hand a message to the connection; nobody confirms it.

        Raises:
            Unavailable: if disconnected.
        """
        client = self._client
        if client is None:
            raise away()
        try:
            await client.publish(subject, body, reply=reply)
        except nats.errors.MaxPayloadError as problem:
            raise Internal("The message is larger than the queue takes.") from problem
        except (nats.errors.Error, OSError) as problem:
            raise away() from problem

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        inbox: str | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Msg:
        """Send a message and wait for its one reply.

        With an `inbox`, one request at a time, whoever listens there hands the reply to `resolve`: a delivered message
        bears the subject it was published on, so that a shared inbox could not tell whose it is.

        Raises:
            Unavailable: at once if disconnected or when the connection breaks; after `timeout_s` without a reply.
            Internal: if the body is larger than the broker takes.
        """
        client = self._client
        if client is None:
            raise away()
        loop = asyncio.get_running_loop()
        reply_to = inbox or f"{self._inbox}.{next(self._tokens)}"
        reply = self._waiting[reply_to] = loop.create_future()
        # A timer rather than a cancellation: nats-py swallows cancellations while it flushes.
        timer = loop.call_later(timeout_s, _give_up, reply)
        try:
            await client.publish(subject, body, reply=reply_to, headers=headers)
            return await reply
        except nats.errors.MaxPayloadError as problem:
            raise Internal("The message is larger than the queue takes.") from problem
        except (nats.errors.Error, OSError) as problem:
            raise away() from problem
        finally:
            timer.cancel()
            del self._waiting[reply_to]

    async def _take_reply(self, message: Msg) -> None:
        await self.resolve(message.subject, message)

    async def resolve(self, reply_to: str, message: Msg) -> None:
        """Give a reply to the request that waits for it."""
        reply = self._waiting.get(reply_to)
        if reply is not None and not reply.done():
            reply.set_result(message)
        elif message.reply.startswith("$JS.ACK."):  # a job for someone who waits no longer: hand it back at once
            await self.send(message.reply, b"-NAK")

    async def _keep(self) -> None:
        delay_s = _RETRY_MIN_S
        complained = False
        while True:
            lost = asyncio.Event()
            try:
                client = await self._connect(lost)
                for listener in tuple(self.listeners):
                    await listener.attach(client)
            except Exception as problem:  # noqa: BLE001  # whatever it was, the next try may do
                _ERRORS.labels("connect").inc()
                if not complained:
                    _log.warning("the broker cannot be reached: %r", problem, extra={"servers": len(self._servers)})
                    complained = True
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                delay_s = min(delay_s * 2, _RETRY_MAX_S)
                continue
            delay_s, complained = _RETRY_MIN_S, False
            await self._stay(client, lost)

    async def _stay(self, client: Client, lost: asyncio.Event) -> None:
        """Be connected until the connection is lost or this task is cancelled."""
        self._client = client
        _CONNECTED.set(1)
        _log.info("connected to the broker")
        for greet in tuple(self.greeters):
            greet()
        try:
            # nats-py first flushes a connection that it gives up, which can last as long as the peer is silent, and
            # calls back afterwards: look at its state, too.
            while not (lost.is_set() or client.is_closed):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await lost.wait()
            _log.warning("the connection to the broker was lost: %r", client.last_error)
        finally:
            self._client = None
            _CONNECTED.set(0)
            for reply in self._waiting.values():
                _give_up(reply)
            await _end(client)

    async def _connect(self, lost: asyncio.Event) -> Client:
        async def closed() -> None:
            lost.set()

        client = Client()
        try:
            async with asyncio.timeout(3 * _CONNECT_TIMEOUT_S):
                await client.connect(
                    self._servers,
                    name=self._name,
                    error_cb=self._note_error,
                    disconnected_cb=closed,
                    closed_cb=closed,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=_CONNECT_TIMEOUT_S,
                    ping_interval=self._ping_interval_s,
                    flush_timeout=REQUEST_TIMEOUT_S,
                    inbox_prefix=self._inbox,
                    **self._access.options(),
                )
        except BaseException:
            await _end(client)
            raise
        return client

    async def _note_error(self, problem: Exception) -> None:
        is_refusal = "permissions violation" in str(problem)
        kind = "permissions_violation" if is_refusal else type(problem).__name__
        _ERRORS.labels(kind).inc()
        if self._client is not None:  # while connecting, the keeper tells it once
            _log.warning("the broker connection reports: %r", problem)


async def _end(client: Client) -> None:
    """Close a client; cut its socket where the peer takes nothing more, which nats-py would wait for."""
    with contextlib.suppress(TimeoutError, nats.errors.Error, OSError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await client.close()
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001  # nats-py gives no other way to its socket
    if writer is not None:
        writer.transport.abort()


def _give_up(reply: asyncio.Future[Msg]) -> None:
    if not reply.done():
        reply.set_exception(away())
