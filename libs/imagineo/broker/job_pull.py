"""Asks one queue for one job, by a request that does not wait at the server: the reply is the job or a status."""

from __future__ import annotations

import asyncio
from typing import Final

from nats.aio.msg import Msg

from imagineo.broker.connection import Connection, Listener

#: Answers where the queue is not there: 503 says that nobody listens, 409 that it was deleted meanwhile.
MISSING: Final = ("409", "503")
_ONE_NOW: Final = b'{"batch":1,"no_wait":true}'


class JobPull:
    """One queue's requests, one at a time, on an inbox of their own.

    A job that comes for someone who waits no longer is handed back, or taken by the one who asks next.
    """

    def __init__(self, connection: Connection, queue: str) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.JOBS.{queue}"
        self._inbox = connection.new_inbox()
        self._turn = asyncio.Lock()
        self._listener: Listener | None = None

    async def ask(self) -> Msg:
        """Ask, and give the answer: a message with a reply subject, or one with the header Status.

        Raises:
            Unavailable: if none came.
        """
        async with self._turn:
            if self._listener is None:
                self._listener = await self._connection.listen(self._inbox, self._take)
            return await self._connection.request(self._subject, _ONE_NOW, inbox=self._inbox)

    async def _take(self, message: Msg) -> None:
        await self._connection.resolve(self._inbox, message)
