"""Rows of the schema `auth` as this service's nouns, and what differs between two of an organization. Pure."""

from __future__ import annotations

from typing import Any

from services.auth.accounts import DailyUsage, Key, Organization, Principal
from services.auth.admission import Standing
from services.auth.audit import Action, Entry
from services.auth.people import Actor, Role, words_of
from services.auth.plans import Limits, Plan, limits_in_force
from services.auth.window import Admission


def organization_of(row: Any) -> Organization:
    """Read an organization out of a row that may hold more."""
    return Organization(
        organization_id=row["organization_id"],
        name=row["name"],
        plan=Plan(row["plan"]),
        overrides=overrides_of(row),
        created_at=row["created_at"],
        omit_provenance=row["omit_provenance"],
    )


def overrides_of(row: Any) -> Limits:
    """Read the numbers that replace the plan's."""
    return Limits(row["requests_per_minute"], row["images_per_month"], row["queued_runs"])


def key_principal(row: Any) -> Principal:
    """Read who stands behind a key."""
    plan = Plan(row["plan"])
    return Principal(
        organization_id=row["organization_id"],
        key_id=row["key_id"],
        plan=plan,
        limits=limits_in_force(plan, overrides_of(row)),
        permissions=frozenset(row["permissions"]),
        expires_at=row["expires_at"],
        allowed_model_ids=tuple(row["allowed_model_ids"]),
        images_per_month=row["key_images_per_month"],
        omit_provenance=row["omit_provenance"],
    )


def session_principal(row: Any) -> Principal:
    """Read who stands behind a session: the role decides what it may."""
    plan, role = Plan(row["plan"]), Role(row["role"])
    return Principal(
        organization_id=row["organization_id"],
        key_id="",
        plan=plan,
        limits=limits_in_force(plan, overrides_of(row)),
        permissions=words_of(role),
        expires_at=row["expires_at"],
        omit_provenance=row["omit_provenance"],
        user_id=row["user_id"],
        role=role,
        session_id=row["session_id"],
        is_administrator=row["is_administrator"],
        is_verified=row["is_verified"],
    )


def changes(before: Organization, after: Organization, actor: Actor) -> list[Entry]:
    """The entries that tell what differs."""
    plan = {"from": before.plan.value, "to": after.plan.value}
    told = {
        "name": (before.name, after.name),
        "embed_parameters": (not before.omit_provenance, not after.omit_provenance),
    }
    told |= {name: (getattr(before.limits, name), getattr(after.limits, name)) for name in Limits.__dataclass_fields__}
    details = {name: f"{old} -> {new}" for name, (old, new) in told.items() if old != new}
    organization_id = after.organization_id
    entries = []
    if before.plan is not after.plan:
        entries.append(Entry(organization_id, Action.PLAN_CHANGED, actor, organization_id, plan))
    elif details:
        entries.append(Entry(organization_id, Action.ORGANIZATION_CHANGED, actor, organization_id, details))
    return entries


def daily_usage_of(row: Any) -> DailyUsage:
    """Read what was drawn on one day."""
    return DailyUsage(
        row["day"], row["key_id"], row["model_id"], row["images"], row["megapixel_steps"], row["device_ms"]
    )


def key_of(row: Any) -> Key:
    """Read a key's public half."""
    return Key(
        key_id=row["key_id"],
        organization_id=row["organization_id"],
        name=row["name"],
        prefix=row["prefix"],
        permissions=frozenset(row["permissions"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        allowed_model_ids=tuple(row["allowed_model_ids"]),
        images_per_month=row["images_per_month"],
        images_used=row.get("images_used") or 0,
        created_by_user_id=row["created_by_user_id"] or "",
    )


def standing_of(row: Any) -> Standing:
    """Read what `admit` answered."""
    admission = Admission(
        admitted=row["admitted"],
        used_before=row["used_before"],
        now_us=row["now_us"],
        oldest_us=row["oldest_us"],
        free_us=row["free_us"],
    )
    return Standing(admission, frozenset(row["held_run_ids"]))
