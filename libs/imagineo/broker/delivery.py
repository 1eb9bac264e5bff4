"""One delivery of a JetStream message: how it is settled over the connection."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from imagineo.broker.connection import Connection, away
from imagineo.broker.port import Delivery
from imagineo.errors import Unavailable


@dataclass(eq=False)
class JetStreamDelivery(Delivery):
    """See `port.Delivery`. Acks after a reconnect still count: they name the message, not the connection."""

    _reply: str
    _connection: Connection
    #: Acked, handed back or given up.
    settled: bool = field(default=False, init=False)

    @classmethod
    def of(cls, message: Msg, connection: Connection) -> JetStreamDelivery:
        """Wrap a message that a consumer delivered."""
        return cls(
            body=message.data,
            subject=message.subject,
            delivered_count=message.metadata.num_delivered,
            _reply=message.reply,
            _connection=connection,
            trace=message.headers or {},
        )

    async def in_progress(self) -> None:
        """See `port.Delivery`."""
        await self._say(b"+WPI")

    async def ack(self) -> None:
        """See `port.Delivery`."""
        confirmation = await self._connection.request(self._reply, b"+ACK")
        if (confirmation.headers or {}).get("Status"):
            raise away("The queue did not confirm.")
        self.settled = True

    async def nak(self, delay_s: float = 0.0) -> None:
        """See `port.Delivery`."""
        self.settled = True
        delay = json.dumps({"delay": round(delay_s * 1e9)}).encode()
        await self._say(b"-NAK " + delay if delay_s > 0 else b"-NAK")

    async def term(self) -> None:
        """See `port.Delivery`."""
        self.settled = True
        await self._say(b"+TERM")

    async def _say(self, word: bytes) -> None:
        with contextlib.suppress(Unavailable):
            await self._connection.send(self._reply, word)
