"""The organization that the key belongs to: its members, who is invited, and what happened."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import Unpack

from imagineo_client.calls import Call, Listing, Page, once
from imagineo_client.sync.transport import Transport
from imagineo_client.types.answers import (
    AuditEntry,
    AuditLog,
    Invitation,
    Invitations,
    Member,
    Members,
    NewInvitation,
    Organization,
)
from imagineo_client.types.requests import InvitationRequestRole, OrganizationChange, RoleChangeRole

_MEMBERS: Listing[Member] = Listing("/v1/organization/members", Members, lambda answer: answer.members)
_INVITATIONS: Listing[Invitation] = Listing(
    "/v1/organization/invitations", Invitations, lambda answer: answer.invitations
)


class OrganizationOfAccount:
    """`client.organization`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.members = MembersOfOrganization(transport)
        self.invitations = InvitationsOfOrganization(transport)
        self.audit_log = AuditLogOfOrganization(transport)

    def get(self) -> Organization:
        """Read it."""
        return self._transport.answer(Call("GET", "/v1/organization", Organization))

    def update(self, **changes: Unpack[OrganizationChange]) -> Organization:
        """Change it; what is not named stays."""
        return self._transport.answer(Call("PATCH", "/v1/organization", Organization, body=changes))


class MembersOfOrganization:
    """`client.organization.members`: people and their roles."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 20, cursor: str | None = None) -> Page[Member]:
        """One page, the earliest sign-up first."""
        return self._transport.page(_MEMBERS, limit, cursor)

    def iterate(self, *, page_size: int = 100) -> Iterator[Member]:
        """All of them."""
        return self._transport.items(_MEMBERS, page_size)

    def update(self, user_id: str, *, role: RoleChangeRole) -> Member:
        """Give one another role. Only owners make or change owners, and the last owner stays."""
        path = f"{_MEMBERS.path}/{user_id}"
        return self._transport.answer(Call("PATCH", path, Member, body={"role": role}))

    def remove(self, user_id: str) -> None:
        """End a membership and the member's sessions. Keys stay: revoke those they know."""
        self._transport.done(Call("DELETE", f"{_MEMBERS.path}/{user_id}", type(None)))


class InvitationsOfOrganization:
    """`client.organization.invitations`: links that let one person become a member, once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 20, cursor: str | None = None) -> Page[Invitation]:
        """One page, newest first, those that are over included."""
        return self._transport.page(_INVITATIONS, limit, cursor)

    def iterate(self, *, page_size: int = 100) -> Iterator[Invitation]:
        """All of them."""
        return self._transport.items(_INVITATIONS, page_size)

    def create(self, email: str, *, role: InvitationRequestRole) -> NewInvitation:
        """Invite somebody. The link works once, for 7 days, and is in this answer only; an earlier one is revoked."""
        return self._transport.answer(once(_INVITATIONS.path, NewInvitation, {"email": email, "role": role}))

    def revoke(self, invitation_id: str) -> None:
        """End one that was not accepted. Idempotent."""
        self._transport.done(Call("DELETE", f"{_INVITATIONS.path}/{invitation_id}", type(None)))


class AuditLogOfOrganization:
    """`client.organization.audit_log`: what happened in the last 400 days, for owners."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 20, cursor: str | None = None, action: str | None = None) -> Page[AuditEntry]:
        """One page, newest first; only one kind of entry where `action` names it, such as `key.created`."""
        return self._transport.page(_entries(action), limit, cursor)

    def iterate(self, *, action: str | None = None, page_size: int = 100) -> Iterator[AuditEntry]:
        """All of them."""
        return self._transport.items(_entries(action), page_size)


def _entries(action: str | None) -> Listing[AuditEntry]:
    return Listing("/v1/organization/audit-log", AuditLog, lambda answer: answer.entries, {"action": action})
