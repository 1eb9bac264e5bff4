"""Who answers for a key: nobody gives more than they have, and a key ends when its maker may do less than it.

Both stand in the transaction of the change and under the lock of the organization, so that no key is made by somebody
who is being removed. What a key makes is its maker's too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from imagineo import errors

from services.auth import audit
from services.auth.accounts import Permission
from services.auth.audit import Action, Entry
from services.auth.people import Actor, Member, Role, words_of
from services.auth.people_repository import SQL

_MAKES_KEYS: Final = Permission.KEYS_WRITE.value


async def maker_of(connection: Any, organization_id: str, actor: Actor, wanted: Iterable[str]) -> str | None:
    """The member who answers for a key that the actor asks for; None: an operator, or a key of unknown origin.

    Raises:
        PermissionDenied: if the actor may not make keys any more, or not give what is wanted.
    """
    if actor.is_operator:
        return None
    maker, allowed = await _standing(connection, organization_id, actor)
    lacked = sorted({_MAKES_KEYS, *wanted} - allowed)
    if lacked:
        raise errors.PermissionDenied(
            f"Who makes a key needs the permission '{lacked[0]}'.", metadata={"permission": lacked[0]}
        )
    return maker


async def inviter_of(connection: Any, organization_id: str, actor: Actor) -> str | None:
    """The member who answers for an invitation: who asks, or the maker of the key that does."""
    if actor.is_operator:
        return None
    maker, _ = await _standing(connection, organization_id, actor)
    return maker


async def _standing(connection: Any, organization_id: str, actor: Actor) -> tuple[str | None, frozenset[str]]:
    if actor.user_id:
        row = await connection.fetchrow(SQL["read_member"], organization_id, actor.user_id)
        return actor.user_id, words_of(Role(row["role"])) if row else frozenset()
    row = await connection.fetchrow(SQL["read_acting_key"], organization_id, actor.key_id)
    return (row["created_by_user_id"], frozenset(row["permissions"])) if row else (None, frozenset())


async def revoke_keys_beyond(connection: Any, member: Member, role: Role | None, actor: Actor) -> list[bytes]:
    """End the keys of a member that the new role could not make; None, who leaves: all. Gives their digests."""
    allowed = None if role is None else words_of(role)
    if allowed is not None and _MAKES_KEYS not in allowed:
        allowed = frozenset()
    bound = None if allowed is None else sorted(allowed)
    because = Action.MEMBER_REMOVED if role is None else Action.ROLE_CHANGED
    rows = await connection.fetch(SQL["revoke_keys_by"], member.organization_id, member.user_id, bound)
    for row in rows:
        details = {"name": row["name"], "prefix": row["prefix"], "made_by": member.email, "because": because.value}
        await audit.write(connection, Entry(member.organization_id, Action.KEY_REVOKED, actor, row["key_id"], details))
    return [bytes(row["digest"]) for row in rows]
