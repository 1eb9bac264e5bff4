"""Members and invitations: who belongs here, as what, and the link that brings the next one."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from imagineo import permissions
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import member_pb2
from starlette.responses import Response

from services.gateway.dashboard.visit import Visit
from services.gateway.rendering import moment

_PAGE_SIZE: Final = 100


async def show(visit: Visit) -> Response:
    """The page."""
    peers, owner = visit.parts.peers, visit.who.organization_id
    members = pb.ListMembersRequest(organization_id=owner, page_size=_PAGE_SIZE, page_token=visit.asked("cursor"))
    invitations = pb.ListInvitationsRequest(organization_id=owner, page_size=50)
    found, invited = await asyncio.gather(
        peers.ask(peers.accounts.ListMembers, members), peers.ask(peers.accounts.ListInvitations, invitations)
    )
    return visit.page(
        "members/show.html",
        members=[_member(one) for one in found.members],
        next_cursor=found.next_page_token,
        invitations=[_invitation(one) for one in invited.invitations],
        roles=roles_given_by(visit.who.role),
        typed={"email": visit.form.text("email"), "role": visit.form.text("role") or "developer"},
        secret=visit.secret,
    )


async def invite(visit: Visit) -> Response:
    """Make an invitation; this answer alone holds its link."""
    asked = pb.CreateInvitationRequest(
        organization_id=visit.who.organization_id,
        email=visit.form.text("email"),
        role=permissions.ROLES.get(visit.form.text("role"), 0),
        actor=visit.actor(),
    )
    made = await visit.parts.peers.ask(visit.parts.peers.accounts.CreateInvitation, asked)
    link = f"{visit.parts.public_url(visit.request)}/invitation#{made.token}"
    visit.secret = {"email": made.invitation.email, "link": link, "expires_at": moment(made.invitation.expires_at)}
    return await show(visit)


async def revoke_invitation(visit: Visit) -> Response:
    """End an invitation."""
    asked = pb.RevokeInvitationRequest(
        organization_id=visit.who.organization_id, invitation_id=visit.name("invitation_id"), actor=visit.actor()
    )
    await visit.parts.peers.ask(visit.parts.peers.accounts.RevokeInvitation, asked)
    return visit.go("/settings/members", "invitation-revoked")


async def change_role(visit: Visit) -> Response:
    """Give a member another role."""
    asked = pb.ChangeRoleRequest(
        organization_id=visit.who.organization_id,
        user_id=visit.name("user_id"),
        role=permissions.ROLES.get(visit.form.text("role"), 0),
        actor=visit.actor(),
    )
    await visit.parts.peers.ask(visit.parts.peers.accounts.ChangeRole, asked)
    return visit.go("/settings/members", "role-changed")


async def remove(visit: Visit) -> Response:
    """End a membership."""
    asked = pb.RemoveMemberRequest(
        organization_id=visit.who.organization_id, user_id=visit.name("user_id"), actor=visit.actor()
    )
    await visit.parts.peers.ask(visit.parts.peers.accounts.RemoveMember, asked)
    return visit.go("/settings/members", "member-removed")


def roles_given_by(role: str) -> list[str]:
    """The roles that a role may give; only owners make owners."""
    return [word for word in permissions.ROLES if word != "owner" or role == "owner"]


def _member(member: member_pb2.Member) -> dict[str, Any]:
    return {
        "user_id": member.user_id,
        "name": member.name,
        "email": member.email,
        "role": permissions.ROLE_WORDS.get(member.role, ""),
        "joined_at": moment(member.joined_at),
        "last_seen_at": moment(member.last_seen_at) if member.HasField("last_seen_at") else None,
    }


def _invitation(invitation: member_pb2.Invitation) -> dict[str, Any]:
    state = "pending"
    if invitation.HasField("accepted_at"):
        state = "accepted"
    elif invitation.HasField("revoked_at"):
        state = "revoked"
    elif invitation.expires_at.seconds < time.time():
        state = "expired"
    return {
        "id": invitation.invitation_id,
        "email": invitation.email,
        "role": permissions.ROLE_WORDS.get(invitation.role, ""),
        "invited_by": invitation.invited_by,
        "created_at": moment(invitation.created_at),
        "expires_at": moment(invitation.expires_at),
        "state": state,
    }
