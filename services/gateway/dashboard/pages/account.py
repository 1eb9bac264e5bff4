"""The person's own page: password, sessions, and which organization to work in."""

from __future__ import annotations

from typing import Any

from imagineo import errors, permissions
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import member_pb2
from starlette.responses import Response

from services.gateway.dashboard.pages.entrance import HASHING_S
from services.gateway.dashboard.visit import Visit
from services.gateway.rendering import moment


async def show(visit: Visit) -> Response:
    """The page."""
    peers, who = visit.parts.peers, visit.who
    found = await peers.ask(peers.accounts.ListSessions, pb.ListSessionsRequest(user_id=who.user.user_id))
    return visit.page(
        "account/show.html",
        sessions=[_session(one, who.session_id) for one in found.sessions],
        memberships=[
            {
                "organization_id": one.organization_id,
                "name": one.organization_name,
                "role": permissions.ROLE_WORDS.get(one.role, ""),
                "is_here": one.organization_id == who.organization_id,
            }
            for one in who.memberships
        ],
    )


async def change_password(visit: Visit) -> Response:
    """Replace the password; other sessions end."""
    asked = pb.ChangePasswordRequest(
        session_sha256=visit.who.session_sha256,
        old_password=visit.form.raw("old_password"),
        new_password=visit.form.raw("new_password"),
        client=visit.client(),
    )
    try:
        await visit.parts.peers.ask(visit.parts.peers.accounts.ChangePassword, asked, timeout_s=HASHING_S)
    except errors.InvalidCredentials as problem:
        message = "That is not your password."
        raise errors.InvalidParameter(message, metadata={"param": "old_password"}) from problem
    return visit.go("/settings/account", "password-changed")


async def revoke_session(visit: Visit) -> Response:
    """Log one session out."""
    asked = pb.RevokeSessionRequest(
        user_id=visit.who.user.user_id, session_id=visit.name("session_id"), client=visit.client()
    )
    await visit.parts.peers.ask(visit.parts.peers.accounts.RevokeSession, asked)
    return visit.go("/settings/account", "session-revoked")


async def switch_organization(visit: Visit) -> Response:
    """Work in another organization."""
    asked = pb.SwitchOrganizationRequest(
        session_sha256=visit.who.session_sha256,
        organization_id=visit.form.text("organization_id"),
        client=visit.client(),
    )
    await visit.parts.peers.ask(visit.parts.peers.accounts.SwitchOrganization, asked)
    return visit.go("/playground")


def _session(session: member_pb2.Session, own_id: str) -> dict[str, Any]:
    return {
        "id": session.session_id,
        "is_own": session.session_id == own_id,
        "address": session.client.address,
        "browser": _browser(session.client.user_agent),
        "created_at": moment(session.created_at),
        "last_seen_at": moment(session.last_seen_at),
    }


def _browser(user_agent: str) -> str:
    """What people call the browser, as far as it tells."""
    browsers = (
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )
    systems = (
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    )
    browser = next((name for mark, name in browsers if mark in user_agent), "A browser")
    system = next((name for mark, name in systems if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser
