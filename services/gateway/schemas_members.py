"""The shapes of members, invitations and the audit log in `/openapi.json`, as data."""

from __future__ import annotations

from typing import Any, Final

from imagineo.permissions import ROLES

from services.gateway.shapes import TEXT, TIME, closed, nullable, page, text

_ROLE: Final[dict[str, Any]] = {"enum": list(ROLES)}
_EMAIL: Final = {**text(3, 254), "format": "email"}
_INVITATION: Final[dict[str, Any]] = {
    "id": TEXT,
    "email": TEXT,
    "role": _ROLE,
    "status": {"enum": ["open", "accepted", "revoked", "expired"]},
    "invited_by": {**nullable(TEXT), "description": "A mail address or a key's id; null: an operator."},
    "created_at": TIME,
    "expires_at": TIME,
    "accepted_at": nullable(TIME),
}

MEMBER_SCHEMAS: Final[dict[str, Any]] = {
    "Member": closed(
        {
            "user_id": TEXT,
            "email": TEXT,
            "name": TEXT,
            "role": _ROLE,
            "joined_at": TIME,
            "last_seen_at": {**nullable(TIME), "description": "To the minute."},
        }
    ),
    "Members": page("members", "Member"),
    "RoleChange": closed({"role": _ROLE}),
    "Invitation": closed(_INVITATION),
    "Invitations": page("invitations", "Invitation"),
    "NewInvitation": closed({**_INVITATION, "link": {"type": "string", "description": "Works once; shown this once."}}),
    "InvitationRequest": closed({"email": _EMAIL, "role": _ROLE}),
    "AuditEntry": closed(
        {
            "id": TEXT,
            "occurred_at": TIME,
            "action": {"type": "string", "description": "Such as `key.created` or `user.log_in_failed`."},
            "user_id": nullable(TEXT),
            "email": {**nullable(TEXT), "description": "The user's then."},
            "key_id": nullable(TEXT),
            "address": {**nullable(TEXT), "description": "Where it came from."},
            "subject_id": {**nullable(TEXT), "description": "What it was done to."},
            "details": {"type": "object", "additionalProperties": TEXT},
        }
    ),
    "AuditLog": page("entries", "AuditEntry"),
}
