"""The rows of users, sessions and password resets; those of members and invitations are `member_repository`'s.

What is written and the audit entry that tells of it are one transaction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from imagineo import errors
from imagineo.ids import new_id
from imagineo.postgres.pool import Database
from imagineo.postgres.queries import load

from services.auth import audit
from services.auth.audit import Action, Entry
from services.auth.people import (
    RESET_AGE,
    SESSION_AGE,
    SESSION_IDLE,
    Actor,
    Client,
    Member,
    Role,
    Session,
    User,
    email_key,
)
from services.auth.verification_repository import verify

SQL: Final = load(Path(__file__).parent / "sql" / "people.sql")
_MAX_SESSIONS: Final = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """What a log-in is checked against."""

    user: User
    password_hash: str
    is_known: bool
    """A session of the user came from the client's address."""
    is_disabled: bool = False
    """They are let in no more."""


@dataclasses.dataclass(frozen=True, slots=True)
class NewUser:
    """A user who is about to be stored; the password is hashed already."""

    email: str
    name: str
    password_hash: str


class PeopleRepository:
    """Reads and writes users and sessions.

    Raises:
        Unavailable: from every method, if the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sign_up(
        self, new: NewUser, organization_name: str, digest: bytes, client: Client
    ) -> tuple[User, Session] | None:
        """Store a user, an organization of theirs and a session; None if the address is taken."""
        organization_id = new_id("org")
        async with self._database.transaction() as connection:
            user = await insert_user(connection, new)
            if user is None:
                return None
            await connection.execute(SQL["insert_organization"], organization_id, organization_name)
            await connection.fetchrow(SQL["insert_member"], organization_id, user.user_id, Role.OWNER.value)
            actor = Actor(user.user_id, client=client)
            await audit.write(
                connection,
                Entry(organization_id, Action.ORGANIZATION_CREATED, actor, details={"name": organization_name}),
            )
            return user, await open_session(connection, user, organization_id, digest, client)

    async def credentials(self, email: str, address: str) -> Credentials | None:
        """What a log-in from this address is checked against; None if nobody has the mail address."""
        row = await self._database.fetchrow(SQL["read_credentials"], email_key(email), address)
        return row and Credentials(user_of(row), row["password_hash"], row["is_known"], row["is_disabled"])

    async def renew_hash(self, verified: Credentials, renewed: str) -> bool:
        """Replace a hash by one of the same password with other parameters, unless another is stored meanwhile."""
        tag = await self._database.execute(SQL["renew_hash"], verified.user.user_id, verified.password_hash, renewed)
        return tag == "UPDATE 1"

    async def log_in(self, verified: Credentials, digest: bytes, client: Client) -> Session | None:
        """Open a session where the user was last; None if they are a member nowhere.

        Raises:
            InvalidCredentials: if the password was changed since it was verified.
        """
        user = verified.user
        async with self._database.transaction() as connection:
            await hold_password(connection, verified)
            rows = await connection.fetch(SQL["read_memberships"], user.user_id)
            if not rows:
                return None
            latest = max(rows, key=lambda row: row["last_seen_at"] or row["joined_at"])
            return await open_session(connection, user, latest["organization_id"], digest, client)

    async def note_failed(self, failures: Sequence[tuple[str, Client]]) -> None:
        """Write failed log-ins of users into the logs of their organizations."""
        async with self._database.transaction() as connection:
            for user_id, client in failures:
                for row in await connection.fetch(SQL["read_memberships"], user_id):
                    actor = Actor(client=client)
                    details = {"email": row["email"]}
                    entry = Entry(row["organization_id"], Action.LOG_IN_FAILED, actor, user_id, details)
                    await audit.write(connection, entry)

    async def session(self, digest: bytes) -> Session | None:
        """Read a session that has not ended."""
        row = await self._database.fetchrow(SQL["read_session"], digest)
        return row and session_of(row)

    async def sessions(self, user_id: str) -> list[Session]:
        """List a user's sessions, newest first."""
        return [session_of(row) for row in await self._database.fetch(SQL["list_sessions"], user_id)]

    async def move_session(self, digest: bytes, organization_id: str, client: Client) -> Session | None:
        """Make a session work in another organization; None if its user is no member there, or it has ended.

        Both logs tell of it, and neither names the other organization.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["move_session"], digest, organization_id)
            if row is None:
                return None
            session, left = session_of(row), row["left_organization_id"]
            actor = Actor(session.user_id, client=client)
            for at, action in ((left, Action.SESSION_LEFT), (organization_id, Action.SESSION_ENTERED)):
                if left != organization_id:
                    await audit.write(connection, Entry(at, action, actor, session.session_id))
            return session

    async def log_out(self, digest: bytes, client: Client) -> None:
        """End the session of a token, if there is one."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["end_session"], digest)
            if row is not None:
                actor = Actor(row["user_id"], client=client)
                entry = Entry(row["organization_id"], Action.LOGGED_OUT, actor, row["session_id"])
                await audit.write(connection, entry)

    async def end_session(self, user_id: str, session_id: str, client: Client) -> bytes | None:
        """End one session of a user; gives the digest of its token, or None if there is none."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["end_session_by_id"], user_id, session_id)
            if row is None:
                return None
            actor = Actor(user_id, client=client)
            entry = Entry(row["organization_id"], Action.SESSION_REVOKED, actor, session_id)
            await audit.write(connection, entry)
            return bytes(row["digest"])

    async def set_password(
        self, user_id: str, password_hash: str, *, keep: bytes, action: Action, client: Client
    ) -> list[bytes]:
        """Store a password and end all sessions but that of `keep`; gives the digests of those that ended."""
        async with self._database.transaction() as connection:
            actor = Actor(user_id, client=client)
            return await store_password(connection, user_id, password_hash, keep=keep, action=action, actor=actor)

    async def open_reset(self, user_id: str, digest: bytes) -> bool:
        """Let a token reset the user's password; False: they are disabled."""
        return await self._database.execute(SQL["insert_reset"], digest, user_id, RESET_AGE) == "INSERT 0 1"

    async def reset(self, digest: bytes) -> User | None:
        """Whose password a token resets; None if it is unknown, used or over."""
        row = await self._database.fetchrow(SQL["read_reset"], digest)
        return row and user_of(row)

    async def use_reset(self, digest: bytes, password_hash: str, client: Client) -> list[bytes] | None:
        """Set the password of a token's user, once; gives the digests of the sessions that ended; None: too late.

        The link was mailed to them: it proves their address as well.
        """
        async with self._database.transaction() as connection:
            user_id = await connection.fetchval(SQL["use_reset"], digest)
            if user_id is None:
                return None
            actor = Actor(user_id, client=client)
            await verify(connection, user_id, actor)
            return await store_password(
                connection, user_id, password_hash, keep=b"", action=Action.PASSWORD_RESET, actor=actor
            )

    async def user(self, user_id: str) -> User | None:
        """Read a user."""
        row = await self._database.fetchrow(SQL["read_user"], user_id)
        return row and user_of(row)

    async def user_by_email(self, email: str) -> User | None:
        """Read the user of a mail address."""
        row = await self._database.fetchrow(SQL["read_user_by_email"], email_key(email))
        return row and user_of(row)

    async def memberships(self, user_id: str) -> list[Member]:
        """List where a user is a member, the earliest first."""
        return [member_of(row) for row in await self._database.fetch(SQL["read_memberships"], user_id)]

    async def touch_sessions(self, used_at: Mapping[str, datetime]) -> None:
        """Note when sessions were last used, and move their ends."""
        await self._database.execute(
            SQL["touch_sessions"], list(used_at), list(used_at.values()), SESSION_IDLE, SESSION_AGE
        )

    async def forget_over(self, limit: int) -> None:
        """Delete the tries that are over, and some of the sessions and resets."""
        await self._database.execute(SQL["forget_sessions"], limit)
        await self._database.execute(SQL["forget_resets"])
        # All of them: tries are made by whoever likes, faster than sweeps come.
        while len(await self._database.fetch(SQL["forget_tries"], limit)) >= limit:
            pass


async def insert_user(connection: Any, new: NewUser) -> User | None:
    """Store a user in the transaction that the connection is in; None if the address is taken."""
    row = await connection.fetchrow(
        SQL["insert_user"], new_id("user"), new.email, email_key(new.email), new.name, new.password_hash
    )
    return row and user_of(row)


async def hold_password(connection: Any, verified: Credentials) -> None:
    """Keep the password as it was verified until the transaction ends.

    Raises:
        InvalidCredentials: if it was changed since.
    """
    if not await connection.fetchval(SQL["hold_password"], verified.user.user_id, verified.password_hash):
        raise errors.InvalidCredentials


async def open_session(connection: Any, user: User, organization_id: str, digest: bytes, client: Client) -> Session:
    """Store a session in the transaction that the connection is in; the oldest beyond a hundred end."""
    row = await connection.fetchrow(
        SQL["insert_session"],
        new_id("sess"),
        digest,
        user.user_id,
        organization_id,
        SESSION_IDLE,
        client.address,
        client.user_agent,
    )
    await connection.execute(SQL["trim_sessions"], user.user_id, _MAX_SESSIONS)
    session = session_of(row)
    entry = Entry(organization_id, Action.LOGGED_IN, Actor(user.user_id, client=client), session.session_id)
    await audit.write(connection, entry)
    return session


async def store_password(
    connection: Any, user_id: str, password_hash: str, *, keep: bytes, action: Action, actor: Actor
) -> list[bytes]:
    """Store a password in the transaction that the connection is in; all sessions end but that of `keep`."""
    await connection.execute(SQL["set_password"], user_id, password_hash)
    await connection.execute(SQL["forget_resets_of"], user_id)
    ended = await connection.fetch(SQL["end_other_sessions"], user_id, keep)
    for row in await connection.fetch(SQL["read_memberships"], user_id):
        await audit.write(connection, Entry(row["organization_id"], action, actor, user_id))
    return [bytes(row["digest"]) for row in ended]


def user_of(row: Any) -> User:
    """Read a user out of a row that may hold more."""
    is_verified = row["verified_at"] is not None
    return User(row["user_id"], row["email"], row["name"], row["is_administrator"], row["created_at"], is_verified)


def member_of(row: Any) -> Member:
    """Read a member."""
    return Member(**{**row, "role": Role(row["role"])})


def session_of(row: Any) -> Session:
    """Read a session."""
    return Session(
        session_id=row["session_id"],
        user_id=row["user_id"],
        organization_id=row["organization_id"],
        created_at=row["created_at"],
        last_seen_at=row["last_seen_at"],
        expires_at=row["expires_at"],
        client=Client(row["address"], row["user_agent"]),
    )
