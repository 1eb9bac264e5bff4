"""What operators do to a user by hand: password, disabling, the platform's administrators. The logs tell of it.

Whatever ends here ends within 2 s where a server is running: it believes what it knows for a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from imagineo import errors
from imagineo.postgres.pool import Database

from services.auth import audit
from services.auth.audit import Action, Entry
from services.auth.member_changes import revoke_invitations_by
from services.auth.people import OPERATOR, User, email_key
from services.auth.people_repository import SQL, member_of, store_password, user_of


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """A user as an operator sees them."""

    user: User
    is_disabled: bool
    sessions_ended: int = 0


Change = Callable[[Any, User], Awaitable[int]]


class OperatorRepository:
    """Changes users by their mail address; each method is one transaction.

    Raises:
        NotFound: from every method, if nobody has the address.
        Unavailable: from every method, if the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set_password(self, email: str, password_hash: str) -> Standing:
        """Replace a password; all sessions of the user end."""

        async def change(connection: Any, user: User) -> int:
            ended = await store_password(
                connection, user.user_id, password_hash, keep=b"", action=Action.PASSWORD_CHANGED, actor=OPERATOR
            )
            return len(ended)

        return await self._change(email, change)

    async def set_disabled(self, email: str, *, is_disabled: bool) -> Standing:
        """Let a user in no more: sessions, resets and open invitations end, and their keys rest; or in again."""

        async def change(connection: Any, user: User) -> int:
            await connection.execute(SQL["set_disabled"], user.user_id, is_disabled)
            if not is_disabled:
                await _note(connection, user, Action.USER_ENABLED)
                return 0
            await connection.execute(SQL["forget_resets_of"], user.user_id)
            ended = await connection.fetch(SQL["end_other_sessions"], user.user_id, b"")
            for row in await connection.fetch(SQL["read_memberships"], user.user_id):
                await revoke_invitations_by(connection, member_of(row), OPERATOR)
            await _note(connection, user, Action.USER_DISABLED)
            return len(ended)

        return await self._change(email, change)

    async def set_administrator(self, email: str, *, is_administrator: bool) -> Standing:
        """Make a user one of those who run the platform, or not any more."""

        async def change(connection: Any, user: User) -> int:
            await connection.fetchrow(SQL["set_administrator"], user.user_id, is_administrator)
            action = Action.ADMINISTRATOR_MADE if is_administrator else Action.ADMINISTRATOR_UNMADE
            await _note(connection, user, action)
            return 0

        return await self._change(email, change)

    async def _change(self, email: str, change: Change) -> Standing:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["lock_user_by_email"], email_key(email.strip()))
            if row is None:
                raise errors.NotFound(f"There is no user {email}.", metadata={"param": "email"})
            ended = await change(connection, user_of(row))
            row = await connection.fetchrow(SQL["lock_user_by_email"], email_key(email.strip()))
            return Standing(user_of(row), row["is_disabled"], ended)


async def _note(connection: Any, user: User, action: Action) -> None:
    """Write it into the logs of the organizations that the user belongs to."""
    for row in await connection.fetch(SQL["read_memberships"], user.user_id):
        entry = Entry(row["organization_id"], action, OPERATOR, user.user_id, {"email": user.email})
        await audit.write(connection, entry)
