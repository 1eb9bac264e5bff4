"""What every change of members stands on, in the transaction that it is: the lock, who asks, what ends with a role."""

from __future__ import annotations

from typing import Any, Final

from imagineo import errors

from services.auth import audit
from services.auth.audit import Action, Entry
from services.auth.people import Actor, Invitation, Member, Role
from services.auth.people_repository import SQL

#: Who may do less comes first.
_RANK: Final = {role: rank for rank, role in enumerate((Role.VIEWER, Role.DEVELOPER, Role.ADMIN, Role.OWNER))}


def lessens(before: Role, after: Role | None) -> bool:
    """Tell whether a member may do less after a change of role; None ends the membership."""
    return after is None or _RANK[after] < _RANK[before]


async def lock(connection: Any, organization_id: str) -> str:
    """Wait for the organization's turn; gives its name."""
    name: str | None = await connection.fetchval(SQL["lock_organization"], organization_id)
    if name is None:
        raise errors.NotFound("There is no such organization.", metadata={"organization_id": organization_id})
    return name


async def revoke_invitations_by(connection: Any, member: Member, actor: Actor) -> None:
    """End the invitations that a member made, who might come back by one, or could not make it any more."""
    organization_id = member.organization_id
    for row in await connection.fetch(SQL["revoke_invitations_by"], organization_id, member.user_id):
        details = {"email": row["email"]}
        entry = Entry(organization_id, Action.INVITATION_REVOKED, actor, row["invitation_id"], details)
        await audit.write(connection, entry)


async def role_of(connection: Any, organization_id: str, actor: Actor) -> Role | None:
    """What the actor is in the organization; None: an operator. A key is as good as an admin.

    Raises:
        PermissionDenied: if the actor has no part in the organization any more.
    """
    if actor.is_operator:
        return None
    if actor.user_id:
        row = await connection.fetchrow(SQL["read_member"], organization_id, actor.user_id)
        if row is not None:
            return Role(row["role"])
    elif await connection.fetchrow(SQL["read_acting_key"], organization_id, actor.key_id):
        return Role.ADMIN
    raise errors.PermissionDenied


def invitation_of(row: Any) -> Invitation:
    """Read an invitation."""
    fields = {name: value for name, value in dict(row).items() if name != "email_key"}
    return Invitation(**{**fields, "role": Role(row["role"])})
