"""The proof of a mail address: a link that is mailed, works once and for two days, and can be asked for again.

Until it came back the address is only said. A password reset proves it as well, and an operator vouches for those whom
they make; an invitation does not, because who invites sees its link.
"""

from __future__ import annotations

from imagineo import errors

from services.auth import throttle
from services.auth.letters import Letters
from services.auth.people import Client, User, email_key
from services.auth.people_repository import PeopleRepository
from services.auth.sign_in_notes import SignInNotes
from services.auth.throttle import Throttle
from services.auth.verification_repository import VerificationRepository


class Verification:
    """Has links mailed, and takes them back."""

    def __init__(
        self,
        people: PeopleRepository,
        repository: VerificationRepository,
        throttle: Throttle,
        letters: Letters,
        notes: SignInNotes,
    ) -> None:
        self._people = people
        self._repository = repository
        self._throttle = throttle
        self._letters = letters
        self._notes = notes

    def is_open(self, user: User) -> bool:
        """Whether a user's mail address is not proven, and could be."""
        return self._letters.can_send and not user.is_verified

    async def request(self, session_sha256: bytes, client: Client) -> None:
        """Have a link mailed to a session's user once more.

        Raises:
            InvalidSession, FailedPrecondition, RateLimited: as `account_service.proto` says.
        """
        session = await self._people.session(session_sha256)
        user = await self._people.user(session.user_id) if session else None
        if user is None:
            raise errors.InvalidSession
        if user.is_verified:
            raise errors.FailedPrecondition("Your mail address is confirmed already.")
        if not self._letters.can_send:
            raise errors.FailedPrecondition("This platform sends no mail, so nothing can be confirmed.")
        await self._throttle.admit(throttle.of_address("verification", client.address))
        await self._throttle.admit(throttle.of_mail("verification", email_key(user.email)))
        self._notes.verification_wanted(user)

    async def take(self, token_sha256: bytes, client: Client) -> None:
        """Take a link's token as the proof of its user's mail address, once.

        Raises:
            NotFound: if the link is not good any more.
            RateLimited: after many tries from one address.
        """
        await self._throttle.admit(throttle.of_address("token", client.address))
        if not await self._repository.use(token_sha256, client):
            raise errors.NotFound("The link has expired or was used. Ask for a new one.")
