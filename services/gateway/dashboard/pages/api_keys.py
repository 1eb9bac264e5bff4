"""API keys: the list, the form, the secret shown once in the answer that makes it, and revoking."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any, Final

from imagineo.permissions import SCOPE_WORDS
from starlette.responses import Response

from services.gateway.dashboard.models_by_id import names_of_models
from services.gateway.dashboard.visit import Visit

_FIELDS: Final = ("name", "expires_on", "monthly_images")


async def show(visit: Visit) -> Response:
    """The page."""
    found, models, makers = await asyncio.gather(
        visit.ask("GET", "/v1/keys", query={"limit": "50", "cursor": visit.asked("cursor")}),
        names_of_models(visit),
        _names_of_members(visit),
    )
    now = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    is_refused = visit.problem is not None
    return visit.page(
        "api_keys/show.html",
        keys=[{**key, "state": _state(key, now), "maker": makers.get(key["created_by"], "")} for key in found["keys"]],
        next_cursor=found["next_cursor"],
        scopes=_scopes(visit),
        models=models,
        typed={name: visit.form.text(name) if is_refused else "" for name in _FIELDS},
        ticked=visit.form.all("scopes") if is_refused else None,
        ticked_models=visit.form.all("allowed_models") if is_refused else [],
        secret=visit.secret,
        url=visit.parts.public_url(visit.request),
    )


async def create(visit: Visit) -> Response:
    """Make a key; this answer alone holds its secret."""
    form = visit.form
    body: dict[str, Any] = {"name": form.text("name"), "scopes": form.all("scopes")}
    if form.text("expires_on"):
        body["expires_at"] = f"{form.text('expires_on')}T23:59:59Z"
    if form.all("allowed_models"):
        body["allowed_models"] = form.all("allowed_models")
    if (images := form.number("monthly_images")) is not None:
        body["monthly_images"] = images
    visit.secret = await visit.ask("POST", "/v1/keys", body=body)
    return await show(visit)


async def revoke(visit: Visit) -> Response:
    """End a key."""
    await visit.ask("DELETE", "/v1/keys/{key_id}", names={"key_id": visit.name("key_id")})
    return visit.go("/settings/api-keys", "key-revoked")


async def _names_of_members(visit: Visit) -> dict[str, str]:
    """Members' names by user_id, of the first hundred, for those who may see them."""
    if not visit.may("members:read"):
        return {}
    found = await visit.ask("GET", "/v1/organization/members", query={"limit": "100"})
    return {member["user_id"]: member["name"] for member in found["members"]}


def _scopes(visit: Visit) -> list[tuple[str, list[str]]]:
    """What the visitor's role may give a key: each noun with its verbs, such as `models` with `read` and `write`."""
    found: dict[str, list[str]] = {}
    for permission in visit.principal.permissions:
        noun, _, verb = SCOPE_WORDS[permission].partition(":")
        found.setdefault(noun, []).append(verb)
    return list(found.items())


def _state(key: dict[str, Any], now: str) -> str:
    if key["revoked_at"]:
        return "revoked"
    return "expired" if key["expires_at"] and key["expires_at"] < now else "active"
