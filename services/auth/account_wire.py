"""Between the nouns around people and the protocol's messages."""

from __future__ import annotations

from imagineo.v1 import member_pb2
from imagineo.wire.times import timestamp

from services.auth import wire
from services.auth.audit import WrittenEntry
from services.auth.member_repository import Summary
from services.auth.people import Invitation, Member, Session, User


def user_message(user: User) -> member_pb2.User:
    """Write a user."""
    return member_pb2.User(
        user_id=user.user_id,
        email=user.email,
        name=user.name,
        is_administrator=user.is_administrator,
        created_at=timestamp(user.created_at),
        is_verified=user.is_verified,
    )


def member_message(member: Member) -> member_pb2.Member:
    """Write a member."""
    return member_pb2.Member(
        organization_id=member.organization_id,
        organization_name=member.organization_name,
        user_id=member.user_id,
        email=member.email,
        name=member.name,
        role=wire.ROLES[member.role],
        joined_at=timestamp(member.joined_at),
        last_seen_at=timestamp(member.last_seen_at),
    )


def session_message(session: Session) -> member_pb2.Session:
    """Write a session."""
    return member_pb2.Session(
        session_id=session.session_id,
        user_id=session.user_id,
        organization_id=session.organization_id,
        created_at=timestamp(session.created_at),
        last_seen_at=timestamp(session.last_seen_at),
        expires_at=timestamp(session.expires_at),
        client=member_pb2.Client(address=session.client.address, user_agent=session.client.user_agent),
    )


def invitation_message(invitation: Invitation) -> member_pb2.Invitation:
    """Write an invitation."""
    return member_pb2.Invitation(
        invitation_id=invitation.invitation_id,
        organization_id=invitation.organization_id,
        organization_name=invitation.organization_name,
        email=invitation.email,
        role=wire.ROLES[invitation.role],
        invited_by=invitation.invited_by,
        created_at=timestamp(invitation.created_at),
        expires_at=timestamp(invitation.expires_at),
        accepted_at=timestamp(invitation.accepted_at),
        revoked_at=timestamp(invitation.revoked_at),
    )


def entry_message(entry: WrittenEntry) -> member_pb2.AuditEntry:
    """Write a line of the audit log."""
    return member_pb2.AuditEntry(
        entry_id=entry.entry_id,
        organization_id=entry.organization_id,
        occurred_at=timestamp(entry.occurred_at),
        action=entry.action,
        user_id=entry.user_id,
        email=entry.email,
        key_id=entry.key_id,
        address=entry.address,
        subject_id=entry.subject_id,
        details=entry.details,
    )


def summary_message(summary: Summary) -> member_pb2.OrganizationSummary:
    """Write an organization as those see it who run the platform."""
    organization = summary.organization
    return member_pb2.OrganizationSummary(
        organization_id=organization.organization_id,
        name=organization.name,
        plan=wire.PLANS[organization.plan],
        members_count=summary.members_count,
        keys_count=summary.keys_count,
        images_used=summary.images_used,
        images_per_month=organization.limits.images_per_month,
        created_at=timestamp(organization.created_at),
    )
