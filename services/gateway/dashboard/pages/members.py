"""Members and invitations: who belongs here, as what, and the link that brings the next one."""

from __future__ import annotations

import asyncio
from typing import Final

from imagineo import permissions
from starlette.responses import Response

from services.gateway.dashboard.visit import Visit

_PLACE: Final = "/settings/members"
_MEMBERS: Final = "/v1/organization/members"
_INVITATIONS: Final = "/v1/organization/invitations"


async def show(visit: Visit) -> Response:
    """The page."""
    found, invited, keys = await asyncio.gather(
        visit.ask("GET", _MEMBERS, query={"limit": "100", "cursor": visit.asked("cursor")}),
        visit.ask("GET", _INVITATIONS, query={"limit": "50"}),
        _keys_by_maker(visit),
    )
    return visit.page(
        "members/show.html",
        members=found["members"],
        next_cursor=found["next_cursor"],
        invitations=invited["invitations"],
        keys=keys,
        roles=roles_given_by(visit.who.role),
        typed={
            "email": visit.form.text("email") if visit.problem else "",
            "role": visit.form.text("role") or "developer",
        },
        secret=visit.secret,
    )


async def invite(visit: Visit) -> Response:
    """Make an invitation; this answer alone holds its link."""
    body = {"email": visit.form.text("email"), "role": visit.form.text("role")}
    visit.secret = await visit.ask("POST", _INVITATIONS, body=body)
    return await show(visit)


async def revoke_invitation(visit: Visit) -> Response:
    """End an invitation."""
    names = {"invitation_id": visit.name("invitation_id")}
    await visit.ask("DELETE", f"{_INVITATIONS}/{{invitation_id}}", names=names)
    return visit.go(_PLACE, "invitation-revoked")


async def change_role(visit: Visit) -> Response:
    """Give a member another role."""
    names, body = {"user_id": visit.name("user_id")}, {"role": visit.form.text("role")}
    await visit.ask("PATCH", f"{_MEMBERS}/{{user_id}}", names=names, body=body)
    return visit.go(_PLACE, "role-changed")


async def remove(visit: Visit) -> Response:
    """End a membership."""
    await visit.ask("DELETE", f"{_MEMBERS}/{{user_id}}", names={"user_id": visit.name("user_id")})
    return visit.go(_PLACE, "member-removed")


async def _keys_by_maker(visit: Visit) -> dict[str, list[str]]:
    """The names of the keys that end with each member, of the newest hundred; for those who may remove members."""
    if not (visit.may("members:write") and visit.may("keys:read")):
        return {}
    made: dict[str, list[str]] = {}
    for key in (await visit.ask("GET", "/v1/keys", query={"limit": "100"}))["keys"]:
        if key["created_by"] and not key["revoked_at"]:
            made.setdefault(key["created_by"], []).append(key["name"])
    return made


def roles_given_by(role: str) -> list[str]:
    """The roles that a role may give; only owners make owners."""
    return [word for word in permissions.ROLES if word != "owner" or role == "owner"]
