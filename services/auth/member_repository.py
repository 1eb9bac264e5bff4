"""The rows of members, invitations, the audit log and the list of organizations.

What changes members runs under the lock of their organization, and is one transaction with its audit entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from imagineo import errors
from imagineo.ids import new_id
from imagineo.postgres.pool import Database
from imagineo.postgres.queries import load

from services.auth import audit
from services.auth.accounts import Organization
from services.auth.audit import Action, Entry, WrittenEntry
from services.auth.makers import inviter_of, revoke_keys_beyond
from services.auth.member_changes import invitation_of, lessens, lock, revoke_invitations_by, role_of
from services.auth.people import (
    INVITATION_AGE,
    Actor,
    Client,
    Invitation,
    Member,
    Role,
    Session,
    User,
    check_may_assign,
    check_owner_stays,
    email_key,
)
from services.auth.people_repository import (
    SQL,
    Credentials,
    NewUser,
    hold_password,
    insert_user,
    member_of,
    open_session,
    store_password,
    user_of,
)
from services.auth.rows import organization_of
from services.auth.verification_repository import verify

Letter = TypeVar("Letter")

_AUDIT_SQL: Final = load(Path(__file__).parent / "sql" / "audit.sql")


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """An organization as those see it who run the platform."""

    organization: Organization
    members_count: int
    keys_count: int
    images_used: int


@dataclasses.dataclass(frozen=True, slots=True)
class RoleChange:
    """Who it was, and what other processes may still believe of them: their sessions, and the keys that ended."""

    member: Member
    session_digests: list[bytes]
    key_digests: list[bytes]


class MemberRepository:
    """Reads and writes who belongs where.

    Raises:
        Unavailable: from every method, if the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def members(self, organization_id: str, after: str, limit: int) -> list[Member]:
        """List members by user_id, after one."""
        return [
            member_of(row) for row in await self._database.fetch(SQL["list_members"], organization_id, after, limit)
        ]

    async def member(self, organization_id: str, user_id: str) -> Member | None:
        """Read a member."""
        row = await self._database.fetchrow(SQL["read_member"], organization_id, user_id)
        return row and member_of(row)

    async def change_role(self, organization_id: str, user_id: str, role: Role | None, actor: Actor) -> RoleChange:
        """Give a member another role, or none, which ends the membership.

        Raises:
            NotFound: if the organization has no such member.
            PermissionDenied, FailedPrecondition: as the rules in `people` say.
        """
        async with self._database.transaction() as connection:
            await lock(connection, organization_id)
            row = await connection.fetchrow(SQL["read_member"], organization_id, user_id)
            if row is None:
                raise errors.NotFound("There is no such member.", metadata={"user_id": user_id})
            member = member_of(row)
            leaves = role is None and actor.user_id == user_id
            if not leaves:
                acting = await role_of(connection, organization_id, actor)
                check_may_assign(acting, before=member.role, after=role)
            owners = await connection.fetchval(SQL["count_owners"], organization_id)
            check_owner_stays(member.role, role, owners)
            digests = [
                bytes(each["digest"])
                for each in await connection.fetch(SQL["digests_of_member"], organization_id, user_id)
            ]
            ended = await self._store_role(connection, member, role, actor)
            return RoleChange(dataclasses.replace(member, role=role or member.role), digests, ended)

    async def _store_role(self, connection: Any, member: Member, role: Role | None, actor: Actor) -> list[bytes]:
        organization_id, user_id = member.organization_id, member.user_id
        ended: list[bytes] = []
        if lessens(member.role, role):
            await revoke_invitations_by(connection, member, actor)
            ended = await revoke_keys_beyond(connection, member, role, actor)
        if role is None:
            details = {"email": member.email, "role": member.role.value}
            await audit.write(connection, Entry(organization_id, Action.MEMBER_REMOVED, actor, user_id, details))
            await connection.execute(SQL["delete_member"], organization_id, user_id)
        elif role is not member.role:
            await connection.execute(SQL["set_role"], organization_id, user_id, role.value)
            details = {"email": member.email, "from": member.role.value, "to": role.value}
            await audit.write(connection, Entry(organization_id, Action.ROLE_CHANGED, actor, user_id, details))
        return ended

    async def invite(
        self,
        organization_id: str,
        email: str,
        role: Role,
        digest: bytes,
        actor: Actor,
        write: Callable[[Invitation], Letter],
    ) -> tuple[Invitation, Letter]:
        """Store an invitation; an open one for the same address is revoked.

        Gives it with its letter, which is written first: an invitation that no letter can tell of is not stored.

        Raises:
            NotFound: if there is no such organization.
            AlreadyExists: if the address is a member's.
            PermissionDenied: as the rules in `people` say.
        """
        key = email_key(email)
        async with self._database.transaction() as connection:
            name = await lock(connection, organization_id)
            check_may_assign(await role_of(connection, organization_id, actor), before=None, after=role)
            if await connection.fetchval(SQL["is_member_by_email"], organization_id, key):
                raise errors.AlreadyExists(f"{email} is a member already.", metadata={"param": "email"})
            await connection.execute(SQL["revoke_open_invitation"], organization_id, key)
            inviting = await connection.fetchrow(SQL["read_user"], actor.user_id)
            row = await connection.fetchrow(
                SQL["insert_invitation"],
                new_id("inv"),
                organization_id,
                email,
                key,
                role.value,
                digest,
                inviting["email"] if inviting else actor.key_id,
                INVITATION_AGE,
                await inviter_of(connection, organization_id, actor),
            )
            made = Invitation(**{**row, "organization_name": name, "role": Role(row["role"])})
            letter = write(made)
            details = {"email": email, "role": role.value}
            await audit.write(connection, Entry(organization_id, Action.INVITED, actor, made.invitation_id, details))
            return made, letter

    async def invitations(self, organization_id: str, before: str, limit: int) -> list[Invitation]:
        """List invitations, newest first, older than one."""
        rows = await self._database.fetch(SQL["list_invitations"], organization_id, before, limit)
        return [invitation_of(row) for row in rows]

    async def invitation(self, digest: bytes) -> Invitation | None:
        """Read the invitation of a token, whatever became of it."""
        row = await self._database.fetchrow(SQL["read_invitation"], digest)
        return row and invitation_of(row)

    async def revoke_invitation(self, organization_id: str, invitation_id: str, actor: Actor) -> Invitation:
        """End an invitation.

        Raises:
            NotFound: if the organization has no such invitation.
            FailedPrecondition: if it was accepted.
            PermissionDenied: as the rules in `people` say.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["read_invitation_by_id"], organization_id, invitation_id)
            if row is None:
                raise errors.NotFound("There is no such invitation.", metadata={"invitation_id": invitation_id})
            found = invitation_of(row)
            acting = await role_of(connection, organization_id, actor)
            check_may_assign(acting, before=found.role, after=None)
            if found.accepted_at is not None:
                raise errors.FailedPrecondition("The invitation was accepted; remove the member instead.")
            if found.revoked_at is not None:
                return found
            revoked_at = await connection.fetchval(SQL["revoke_invitation"], invitation_id)
            details = {"email": found.email}
            await audit.write(
                connection, Entry(organization_id, Action.INVITATION_REVOKED, actor, invitation_id, details)
            )
            return dataclasses.replace(found, revoked_at=revoked_at)

    async def accept(
        self, digest: bytes, who: Credentials | NewUser, session_digest: bytes, client: Client, check: Any
    ) -> tuple[User, Session]:
        """Make the invited a member and open a session there; `check` refuses an invitation that is over.

        Raises:
            AlreadyExists: if a user with the address came to be meanwhile.
            InvalidCredentials: if the user's password was changed meanwhile.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["read_invitation"], digest)
            found = check(row and invitation_of(row))
            if isinstance(who, Credentials):
                await hold_password(connection, who)
                user: User | None = who.user
            else:
                user = await insert_user(connection, who)
            if user is None:
                raise errors.AlreadyExists("There is an account with this mail address. Use its password.")
            actor = Actor(user.user_id, client=client)
            added = await connection.fetchrow(
                SQL["insert_member"], found.organization_id, user.user_id, found.role.value
            )
            await connection.execute(SQL["accept_invitation"], found.invitation_id)
            details = {"email": user.email, "role": found.role.value if added else "unchanged"}
            entry = Entry(found.organization_id, Action.INVITATION_ACCEPTED, actor, found.invitation_id, details)
            await audit.write(connection, entry)
            return user, await open_session(connection, user, found.organization_id, session_digest, client)

    async def provide(
        self, new: NewUser, organization_id: str, role: Role, *, is_administrator: bool, may_exist: bool
    ) -> tuple[User, bool]:
        """Make a user as an operator does; gives also whether they are new.

        One who exists, if that `may_exist`, keeps the name, gets the password, and their sessions end: whoever signed
        up with the address before may be somebody else.

        Raises:
            NotFound: if there is no such organization.
            AlreadyExists: if the address is a user's, and may not be.
        """
        async with self._database.transaction() as connection:
            await lock(connection, organization_id)
            made = await insert_user(connection, new)
            user = made or user_of(await connection.fetchrow(SQL["read_user_by_email"], email_key(new.email)))
            if made is None and not may_exist:
                raise errors.AlreadyExists(
                    f"There is a user {user.email} already. With `--existing`, create-user gives them the password "
                    "and ends their sessions.",
                    metadata={"param": "email"},
                )
            await verify(connection, user.user_id, Actor())  # the operator vouches for the address
            if is_administrator:
                user = user_of(await connection.fetchrow(SQL["set_administrator"], user.user_id, True))
            if await connection.fetchrow(SQL["insert_member"], organization_id, user.user_id, role.value):
                details = {"email": user.email, "role": role.value}
                entry = Entry(organization_id, Action.MEMBER_ADDED, Actor(), user.user_id, details)
                await audit.write(connection, entry)
            if made is None:
                await store_password(
                    connection,
                    user.user_id,
                    new.password_hash,
                    keep=b"",
                    action=Action.PASSWORD_CHANGED,
                    actor=Actor(),
                )
            return dataclasses.replace(user, is_verified=True), made is not None

    async def entries(self, organization_id: str, before: str, action: str, limit: int) -> list[WrittenEntry]:
        """List the audit log, newest first, older than one entry; no action named: all."""
        rows = await self._database.fetch(_AUDIT_SQL["list_audit_entries"], organization_id, before, action, limit)
        return [audit.written(row) for row in rows]

    async def organizations(self, before: str, text: str, limit: int) -> list[Summary]:
        """List all organizations, newest first, older than one, whose name or id holds the text."""
        rows = await self._database.fetch(SQL["list_organizations"], before, text, limit)
        return [
            Summary(organization_of(row), row["members_count"], row["keys_count"], row["images_used"]) for row in rows
        ]

    async def forget_entries(self, age_s: float, limit: int) -> None:
        """Delete some of the audit entries that are older than `age_s`."""
        await self._database.execute(_AUDIT_SQL["forget_audit_entries"], age_s, limit)
