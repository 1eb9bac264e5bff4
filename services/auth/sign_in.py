"""Sign-up, log-in, passwords and invitations: what is checked, in which order, before anything is stored.

Nothing that a stranger sees tells whether a mail address is known: a log-in hashes and a reset answers alike. Sign-up
and invitations must tell, and are bounded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime

from imagineo import errors, tokens

from services.auth import throttle
from services.auth.audit import Action
from services.auth.letters import Letters
from services.auth.member_repository import MemberRepository
from services.auth.passwords import Passwords
from services.auth.people import (
    Actor,
    Client,
    Invitation,
    Role,
    Session,
    User,
    check_email,
    check_name,
    email_key,
)
from services.auth.people_repository import Credentials, NewUser, PeopleRepository
from services.auth.sign_in_notes import SignInNotes
from services.auth.throttle import Throttle

#: What is said to a link that is no longer good.
_LINK_OVER = "The link has expired or was used. Ask for a new one."


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A session with its token, which is shown this once."""

    token: str
    session: Session
    user: User


class SignIn:
    """Lets people in. `forget` drops digests of sessions that ended from the cache."""

    def __init__(
        self,
        people: PeopleRepository,
        members: MemberRepository,
        passwords: Passwords,
        throttle: Throttle,
        letters: Letters,
        notes: SignInNotes,
        forget: Callable[[bytes], None],
        *,
        sign_up_closed: bool = False,
    ) -> None:
        self._people = people
        self._members = members
        self._passwords = passwords
        self._throttle = throttle
        self._letters = letters
        self._notes = notes
        self._forget = forget
        self._sign_up_closed = sign_up_closed

    async def sign_up(self, email: str, password: str, name: str, organization_name: str, client: Client) -> Opened:
        """Make a user with an organization of their own.

        Raises:
            InvalidParameter: naming the field.
            AlreadyExists: if the address is taken.
            FailedPrecondition: if sign-up is closed.
            RateLimited: after many from one address.
        """
        if self._sign_up_closed:
            raise errors.FailedPrecondition("Sign-up is closed here. Ask for an invitation.")
        email = check_email(email)
        organization_name = check_name("organization_name", organization_name)
        new = await self._new_user(
            email, password, check_name("name", name), throttle.of_address("sign-up", client.address)
        )
        token = tokens.new_token()
        made = await self._people.sign_up(new, organization_name, tokens.digest(token), client)
        if made is None:
            raise errors.AlreadyExists(
                "There is an account with this mail address. Log in, or reset its password.",
                metadata={"param": "email"},
            )
        self._notes.verification_wanted(made[0])
        return Opened(token, made[1], made[0])

    async def log_in(self, email: str, password: str, client: Client) -> Opened:
        """Open a session where the user was last.

        Raises:
            InvalidCredentials: for a wrong password as for an unknown address.
            FailedPrecondition: if the user is a member nowhere any more.
            RateLimited: after many tries.
        """
        verified = await self._verified(email, password, client)
        token = tokens.new_token()
        session = await self._people.log_in(verified, tokens.digest(token), client)
        if session is None:
            raise errors.FailedPrecondition("You belong to no organization any more. Ask for an invitation.")
        return Opened(token, session, verified.user)

    async def change_password(self, digest: bytes, old: str, new: str, client: Client) -> None:
        """Replace the password of a session's user; their other sessions end.

        Raises:
            InvalidSession, InvalidCredentials, InvalidParameter, RateLimited: as said in `account_service.proto`.
        """
        session = await self._people.session(digest)
        user = await self._people.user(session.user_id) if session else None
        if user is None:
            raise errors.InvalidSession
        try:
            await self._verified(user.email, old, client)
        except errors.InvalidCredentials as problem:
            raise errors.InvalidCredentials(
                "The old password is wrong.", metadata={"param": "old_password"}
            ) from problem
        await self._passwords.check_new(new, email=user.email, name=user.name, param="new_password")
        hashed = await self._passwords.hash(new)
        ended = await self._people.set_password(
            user.user_id, hashed, keep=digest, action=Action.PASSWORD_CHANGED, client=client
        )
        self._end(ended)

    async def request_reset(self, email: str, client: Client) -> None:
        """Have a link mailed, if somebody has the address; found out and sent after the answer.

        Raises:
            InvalidParameter, RateLimited: as `log_in`.
            FailedPrecondition: if the platform sends no mail.
        """
        self._letters.check_can_send()
        email = check_email(email)
        await self._throttle.admit(throttle.of_address("reset", client.address))
        await self._throttle.admit(throttle.of_mail("reset", email_key(email)))
        self._notes.reset_wanted(email)

    async def reset_password(self, digest: bytes, password: str, client: Client) -> None:
        """Set the password of a link's user, once; all of their sessions end.

        Raises:
            NotFound: if the link is not good any more.
            InvalidParameter: for a weak password, which leaves the link good.
        """
        await self._throttle.admit(throttle.of_address("token", client.address))
        user = await self._people.reset(digest)
        if user is None:
            raise errors.NotFound(_LINK_OVER)
        await self._passwords.check_new(password, email=user.email, name=user.name, param="new_password")
        ended = await self._people.use_reset(digest, await self._passwords.hash(password), client)
        if ended is None:
            raise errors.NotFound(_LINK_OVER)
        self._end(ended)

    async def create_user(
        self,
        email: str,
        password: str,
        name: str,
        organization_id: str,
        role: Role,
        *,
        is_administrator: bool,
        may_exist: bool = False,
    ) -> tuple[User, bool]:
        """Make a user as an operator does; gives also whether they are new.

        Raises:
            InvalidParameter: naming the field.
            NotFound: if there is no such organization.
            AlreadyExists: if the address is a user's; if they `may_exist`, they get the password, and sessions end.
        """
        email = check_email(email)
        new = await self._new_user(email, password, check_name("name", name), [])
        return await self._members.provide(
            new, organization_id, role, is_administrator=is_administrator, may_exist=may_exist
        )

    async def hash_new(self, password: str, email: str) -> str:
        """The hash of a password that an operator sets.

        Raises:
            InvalidParameter: for a weak one.
        """
        await self._passwords.check_new(password, email=email)
        return await self._passwords.hash(password)

    async def invite(self, organization_id: str, email: str, role: Role, actor: Actor) -> tuple[Invitation, str]:
        """Make an invitation and mail its link, where the platform sends mail; gives its token.

        Raises:
            InvalidParameter, NotFound, AlreadyExists, PermissionDenied, RateLimited: as `account_service.proto` says.
        """
        email = check_email(email)
        await self._throttle.admit(throttle.of_address("invitation", actor.client.address))
        await self._throttle.admit(throttle.of_mail("invitation", email_key(email)))
        token = tokens.new_token()
        made, letter = await self._members.invite(
            organization_id,
            email,
            role,
            tokens.digest(token),
            actor,
            lambda invitation: self._letters.invitation(invitation, token),
        )
        self._letters.send(letter)
        return made, token

    async def invitation(self, digest: bytes) -> tuple[Invitation, bool]:
        """The invitation of a link, and whether its address is a user's.

        Raises:
            NotFound, FailedPrecondition: if it is not good any more.
        """
        found = check_open(await self._members.invitation(digest))
        return found, await self._people.user_by_email(found.email) is not None

    async def accept(self, digest: bytes, password: str, name: str, client: Client) -> Opened:
        """Make the invited a member and log them in.

        Raises:
            NotFound, FailedPrecondition, InvalidCredentials, InvalidParameter: as `account_service.proto` says.
        """
        found, is_known = await self.invitation(digest)
        who: Credentials | NewUser
        if is_known:
            who = await self._verified(found.email, password, client)
        else:
            bounds = throttle.of_address("sign-up", client.address)
            who = await self._new_user(found.email, password, check_name("name", name), bounds)
        token = tokens.new_token()
        user, session = await self._members.accept(digest, who, tokens.digest(token), client, check_open)
        if not is_known:
            self._notes.verification_wanted(user)
        return Opened(token, session, user)

    async def _new_user(self, email: str, password: str, name: str, bounds: list[throttle.Bound]) -> NewUser:
        await self._throttle.admit(bounds)
        await self._passwords.check_new(password, email=email, name=name)
        return NewUser(email, name, await self._passwords.hash(password))

    async def _verified(self, email: str, password: str, client: Client) -> Credentials:
        """The user behind an address and a password, counted as a try."""
        await self._throttle.admit(throttle.of_address("log-in", client.address))
        key = email_key(email.strip())[:254].replace("\0", "")
        known = await self._people.credentials(key, client.address)
        is_known = known is not None and known.is_known
        await self._throttle.admit(throttle.of_log_in(key, client.address, is_known=is_known))
        is_right = await self._passwords.verify(known.password_hash if known else None, password)
        if known is None or not is_right or known.is_disabled:
            if known is not None:
                self._notes.failed(known.user.user_id, client)
            raise errors.InvalidCredentials
        if self._passwords.is_outdated(known.password_hash):
            return await self._renewed(known, password)
        return known

    async def _renewed(self, known: Credentials, password: str) -> Credentials:
        renewed = await self._passwords.hash(password)
        if await self._people.renew_hash(known, renewed):
            return dataclasses.replace(known, password_hash=renewed)
        # Another log-in was faster, or the password was changed: what is stored now decides.
        stored = await self._people.credentials(known.user.email, "")
        if stored is None or not await self._passwords.verify(stored.password_hash, password):
            raise errors.InvalidCredentials
        return stored

    def _end(self, digests: list[bytes]) -> None:
        for digest in digests:
            self._forget(digest)


def check_open(found: Invitation | None) -> Invitation:
    """Give an invitation that can be accepted.

    Raises:
        NotFound: if there is none, or it was revoked.
        FailedPrecondition: if it was used, or has expired.
    """
    if found is None or found.revoked_at is not None:
        raise errors.NotFound("There is no such invitation. Ask for a new one.")
    if found.accepted_at is not None:
        raise errors.FailedPrecondition("The invitation was used already. Log in.")
    if found.expires_at <= datetime.now(UTC):
        raise errors.FailedPrecondition("The invitation has expired. Ask for a new one.")
    return found
