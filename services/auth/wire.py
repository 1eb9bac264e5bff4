"""Between this service's nouns and the protocol's messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from imagineo import errors
from imagineo.v1 import account_pb2 as pb
from imagineo.v1 import auth_service_pb2 as service_pb
from imagineo.v1 import member_pb2
from imagineo.wire.times import timestamp

from services.auth.accounts import DailyUsage, Key, Organization, Permission, Principal
from services.auth.admission import Check, RateLimit, Verdict
from services.auth.people import Actor, Client, Role
from services.auth.plans import Limits, Plan

PLANS: Final = {Plan.FREE: pb.PLAN_FREE, Plan.BASIC: pb.PLAN_BASIC, Plan.PREMIUM: pb.PLAN_PREMIUM}
PLAN_OF: Final = {number: plan for plan, number in PLANS.items()}
PERMISSIONS: Final = {permission: pb.Permission.Value("PERMISSION_" + permission.name) for permission in Permission}
ROLES: Final = {role: pb.Role.Value("ROLE_" + role.name) for role in Role}
ROLE_OF: Final = {number: role for role, number in ROLES.items()}
PERMISSION_WORDS: Final = {permission.value: number for permission, number in PERMISSIONS.items()}
PERMISSION_OF: Final = {number: permission for permission, number in PERMISSIONS.items()}


def role(number: pb.Role.ValueType) -> Role:
    """Read a role.

    Raises:
        InvalidParameter: if there is none of this number.
    """
    if number not in ROLE_OF:
        raise errors.InvalidParameter.of("role", "owner, admin, developer or viewer")
    return ROLE_OF[number]


def client(message: member_pb2.Client) -> Client:
    """Read where a request comes from."""
    return Client.of(message.address, message.user_agent)


def actor(message: member_pb2.Actor) -> Actor:
    """Read who asks."""
    return Actor(message.user_id, message.key_id, client(message.client))


def check(message: service_pb.Check) -> Check:
    """Read a check; a permission that is not set stays None, which no key grants."""
    return Check(
        message.key_sha256,
        PERMISSION_OF.get(message.permission),
        message.reserve_run_id,
        tuple(message.more_run_ids),
        message.session_sha256,
        message.is_uncounted,
        message.is_page,
    )


def verdict_message(verdict: Verdict) -> service_pb.Verdict:
    """Write a verdict."""
    return service_pb.Verdict(
        error=verdict.error.detail() if verdict.error else None,
        principal=principal_message(verdict.principal) if verdict.principal else None,
        rate_limit=rate_limit_message(verdict.rate_limit) if verdict.rate_limit else None,
    )


def principal_message(principal: Principal) -> pb.Principal:
    """Write a principal."""
    return pb.Principal(
        organization_id=principal.organization_id,
        key_id=principal.key_id,
        plan=PLANS[principal.plan],
        limits=limits_message(principal.limits),
        omit_provenance=principal.omit_provenance,
        allowed_model_ids=principal.allowed_model_ids,
        is_restricted=principal.is_restricted,
        permissions=_permissions(principal.permissions),
        user_id=principal.user_id,
        role=ROLES[principal.role] if principal.role else pb.ROLE_UNSPECIFIED,
        session_id=principal.session_id,
        is_administrator=principal.is_administrator,
    )


def rate_limit_message(rate_limit: RateLimit) -> pb.RateLimit:
    """Write where the requests of this minute stand."""
    return pb.RateLimit(
        limit=rate_limit.limit, remaining=rate_limit.remaining, reset_at_epoch_s=rate_limit.reset_at_epoch_s
    )


def limits_message(limits: Limits) -> pb.Limits:
    """Write limits."""
    return pb.Limits(
        requests_per_minute=limits.requests_per_minute,
        images_per_month=limits.images_per_month,
        queued_runs=limits.queued_runs,
    )


def organization_message(organization: Organization) -> pb.Organization:
    """Write an organization with the limits in force."""
    return pb.Organization(
        organization_id=organization.organization_id,
        name=organization.name,
        plan=PLANS[organization.plan],
        limits=limits_message(organization.limits),
        created_at=timestamp(organization.created_at),
        omit_provenance=organization.omit_provenance,
    )


def key_message(key: Key) -> pb.ApiKey:
    """Write a key's public half."""
    return pb.ApiKey(
        key_id=key.key_id,
        organization_id=key.organization_id,
        name=key.name,
        prefix=key.prefix,
        permissions=_permissions(key.permissions),
        created_at=timestamp(key.created_at),
        expires_at=timestamp(key.expires_at),
        revoked_at=timestamp(key.revoked_at),
        last_used_at=timestamp(key.last_used_at),
        allowed_model_ids=key.allowed_model_ids,
        images_per_month=key.images_per_month,
        images_used=key.images_used,
        created_by_user_id=key.created_by_user_id,
    )


def daily_usage_message(usage: DailyUsage) -> pb.DailyUsage:
    """Write what was drawn on one day, or in all."""
    return pb.DailyUsage(
        day=usage.day.isoformat() if usage.day else "",
        key_id=usage.key_id,
        model_id=usage.model_id,
        images=usage.images,
        megapixel_steps=usage.megapixel_steps,
        device_ms=usage.device_ms,
    )


def _permissions(words: Iterable[str]) -> list[pb.Permission.ValueType]:
    # A word of a later version, whose rows this one meets while the platform is upgraded, is nobody's permission here.
    return sorted(PERMISSION_WORDS[word] for word in words if word in PERMISSION_WORDS)
