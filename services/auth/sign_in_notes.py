"""What a log-in leaves to be done after its answer, so that no answer takes longer because an address is known.

Failed log-ins go into the audit log; wanted password resets become a row and a mail. Both are lost with the process;
whoever gets no mail asks again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from imagineo import errors, tokens

from services.auth.letters import Letters
from services.auth.people import Client
from services.auth.people_repository import PeopleRepository

log = logging.getLogger(__name__)

#: More than so many are dropped: somebody floods.
_MAX_WAITING: Final = 1_000


class SignInNotes:
    """A queue with one that works it off. Use it from one event loop."""

    def __init__(self, people: PeopleRepository, letters: Letters) -> None:
        self._people = people
        self._letters = letters
        self._works: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(_MAX_WAITING)

    def failed(self, user_id: str, client: Client) -> None:
        """Note a wrong password."""
        self._put(lambda: self._people.note_failed([(user_id, client)]))

    def reset_wanted(self, email: str) -> None:
        """Note that a link shall be mailed, if somebody has the address."""
        self._put(lambda: self._open_reset(email))

    async def run(self) -> None:
        """Work for ever; what fails is logged and dropped."""
        while True:
            work = await self._works.get()
            try:
                await work()
            except errors.ImagineoError as problem:
                log.warning("what a log-in left to do was dropped: %s", problem)
            except Exception:
                # One that cannot be done must not hold up all others.
                log.exception("what a log-in left to do was dropped")
            finally:
                self._works.task_done()

    def _put(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            self._works.put_nowait(work)
        except asyncio.QueueFull:
            log.warning("too much is left to do by log-ins; dropped")

    async def _open_reset(self, email: str) -> None:
        user = await self._people.user_by_email(email)
        if user is None:
            return
        token = tokens.new_token()
        await self._people.open_reset(user.user_id, tokens.digest(token))
        self._letters.reset(user, token)
