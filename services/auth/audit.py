"""The audit log: which actions there are, and an entry. One is stored with what it tells of, or not at all."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from imagineo.ids import new_id
from imagineo.postgres.queries import load

from services.auth.people import Actor

_INSERT: Final = load(Path(__file__).parent / "sql" / "audit.sql")["insert_audit_entry"]


class Action(enum.StrEnum):
    """What happened."""

    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    LOGGED_IN = "user.logged_in"
    LOG_IN_FAILED = "user.log_in_failed"
    LOGGED_OUT = "user.logged_out"
    SESSION_REVOKED = "user.session_revoked"
    SESSION_ENTERED = "user.session_entered"
    SESSION_LEFT = "user.session_left"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    ADMINISTRATOR_MADE = "user.administrator_made"
    ADMINISTRATOR_UNMADE = "user.administrator_unmade"
    PASSWORD_CHANGED = "user.password_changed"  # noqa: S105 - a word of the log
    PASSWORD_RESET = "user.password_reset"  # noqa: S105 - the same
    EMAIL_VERIFIED = "user.email_verified"
    INVITED = "invitation.created"
    INVITATION_REVOKED = "invitation.revoked"
    INVITATION_ACCEPTED = "invitation.accepted"
    MEMBER_ADDED = "member.added"
    ROLE_CHANGED = "member.role_changed"
    MEMBER_REMOVED = "member.removed"
    ORGANIZATION_CREATED = "organization.created"
    ORGANIZATION_CHANGED = "organization.changed"
    PLAN_CHANGED = "organization.plan_changed"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One line to be written."""

    organization_id: str
    action: Action
    actor: Actor
    subject_id: str = ""
    details: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenEntry:
    """One line as it stands in the log."""

    entry_id: str
    organization_id: str
    occurred_at: datetime
    action: str
    user_id: str
    email: str
    key_id: str
    address: str
    subject_id: str
    details: dict[str, str]


async def write(connection: Any, entry: Entry) -> None:
    """Write an entry in the transaction that the connection is in; the user's address is looked up there."""
    actor = entry.actor
    await connection.execute(
        _INSERT,
        new_id("aud"),
        entry.organization_id,
        entry.action.value,
        actor.user_id,
        actor.key_id,
        actor.client.address,
        entry.subject_id,
        json.dumps(dict(entry.details)),
    )


def written(row: Any) -> WrittenEntry:
    """Read a row of the log."""
    return WrittenEntry(**{**row, "details": json.loads(row["details"])})
