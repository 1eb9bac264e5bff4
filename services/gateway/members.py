"""Members, invitations and the audit log as REST reads and shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from imagineo import errors
from imagineo.permissions import PERMISSIONS_OF, ROLE_WORDS, ROLES, SCOPE_WORDS
from imagineo.v1 import account_pb2, member_pb2
from imagineo.wire.shown import moment

from services.gateway.fields import Check, choice, text
from services.gateway.submission import checked

_ROLE: Final[Check] = choice(list(ROLES))
_ROLE_WORDS: Final = "one of " + ", ".join(ROLES)


def read_role_change(document: dict[str, Any]) -> account_pb2.Role.ValueType:
    """Check the body of `PATCH /v1/organization/members/{user_id}`.

    Raises:
        UnknownField, InvalidParameter: naming the field.
    """
    values = checked(document, {"role": _ROLE}, {"role": _ROLE_WORDS}, within="")
    return ROLES[values["role"]]


def read_invitation(document: dict[str, Any]) -> tuple[str, account_pb2.Role.ValueType]:
    """Check the body of `POST /v1/organization/invitations`: an address and a role.

    Raises:
        UnknownField, InvalidParameter: naming the field.
    """
    required = {"email": "a mail address", "role": _ROLE_WORDS}
    values = checked(document, {"email": text(3, 254), "role": _ROLE}, required, within="")
    return values["email"], ROLES[values["role"]]


def check_may_give(principal: account_pb2.Principal, role: account_pb2.Role.ValueType) -> None:
    """Refuse a role that could do more than who gives it, as with keys.

    Raises:
        PermissionDenied: naming what is lacked.
    """
    if principal.is_restricted:
        raise errors.PermissionDenied("A key with limits of its own (models, images, expiry) changes no members.")
    for permission in sorted(PERMISSIONS_OF[role] - set(principal.permissions)):
        word = SCOPE_WORDS[permission]
        raise errors.PermissionDenied(
            f"Who gives the role '{ROLE_WORDS[role]}' needs the permission '{word}' as well.",
            metadata={"permission": word},
        )


def member(found: member_pb2.Member) -> dict[str, Any]:
    """A member."""
    return {
        "user_id": found.user_id,
        "email": found.email,
        "name": found.name,
        "role": ROLE_WORDS.get(found.role, "viewer"),
        "joined_at": moment(found.joined_at),
        "last_seen_at": moment(found.last_seen_at) if found.HasField("last_seen_at") else None,
    }


def invitation(found: member_pb2.Invitation, now_s: float) -> dict[str, Any]:
    """An invitation, without the link that opens it."""
    return {
        "id": found.invitation_id,
        "email": found.email,
        "role": ROLE_WORDS.get(found.role, "viewer"),
        "status": _status(found, now_s),
        "invited_by": found.invited_by or None,
        "created_at": moment(found.created_at),
        "expires_at": moment(found.expires_at),
        "accepted_at": moment(found.accepted_at) if found.HasField("accepted_at") else None,
    }


def entry(found: member_pb2.AuditEntry) -> dict[str, Any]:
    """A line of the audit log."""
    details: Mapping[str, str] = dict(found.details)
    return {
        "id": found.entry_id,
        "occurred_at": moment(found.occurred_at),
        "action": found.action,
        "user_id": found.user_id or None,
        "email": found.email or None,
        "key_id": found.key_id or None,
        "address": found.address or None,
        "subject_id": found.subject_id or None,
        "details": details,
    }


def _status(found: member_pb2.Invitation, now_s: float) -> str:
    if found.HasField("accepted_at"):
        return "accepted"
    if found.HasField("revoked_at"):
        return "revoked"
    return "expired" if found.expires_at.seconds <= now_s else "open"
