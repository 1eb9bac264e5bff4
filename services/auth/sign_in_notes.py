"""What a log-in leaves to be done after its answer, so that no answer takes longer because an address is known.

Failed log-ins go into the audit log; wanted links, of resets and verifications, become a row and a mail. All are lost
with the process; whoever gets no mail asks again.
"""

from __future__ import annotations

from imagineo import tokens

from services.auth.backlog import Backlog
from services.auth.letters import Letters
from services.auth.people import Client, User
from services.auth.people_repository import PeopleRepository
from services.auth.verification_repository import VerificationRepository


class SignInNotes:
    """What is noted, worked off one by one. Use it from one event loop."""

    def __init__(self, people: PeopleRepository, verifications: VerificationRepository, letters: Letters) -> None:
        self._people = people
        self._verifications = verifications
        self._letters = letters
        self._backlog = Backlog("what a log-in left to do")

    def failed(self, user_id: str, client: Client) -> None:
        """Note a wrong password."""
        self._backlog.put(lambda: self._people.note_failed([(user_id, client)]))

    def reset_wanted(self, email: str) -> None:
        """Note that a link shall be mailed, if somebody has the address."""
        self._backlog.put(lambda: self._open_reset(email))

    def verification_wanted(self, user: User) -> None:
        """Note that a link shall be mailed that proves a user's address, if letters go anywhere."""
        if self._letters.can_send:
            self._backlog.put(lambda: self._open_verification(user))

    async def run(self) -> None:
        """Work for ever; what fails is logged and dropped."""
        await self._backlog.run()

    async def _open_reset(self, email: str) -> None:
        user = await self._people.user_by_email(email)
        if user is None:
            return
        token = tokens.new_token()
        if await self._people.open_reset(user.user_id, tokens.digest(token)):
            self._letters.reset(user, token)

    async def _open_verification(self, user: User) -> None:
        token = tokens.new_token()
        if await self._verifications.open(user.user_id, tokens.digest(token)):
            self._letters.verification(user, token)
