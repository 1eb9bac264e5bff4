"""The nouns of this service: organizations, keys, permissions, and who stands behind a key. Pure."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime

from services.auth.people import Role
from services.auth.plans import Limits, Plan, limits_in_force


class Permission(enum.StrEnum):
    """What a call needs and a key grants."""

    GENERATIONS_READ = "generations:read"
    GENERATIONS_WRITE = "generations:write"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    USAGE_READ = "usage:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    ORGANIZATION_READ = "organization:read"
    ORGANIZATION_WRITE = "organization:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    AUDIT_READ = "audit:read"


@dataclasses.dataclass(frozen=True, slots=True)
class Organization:
    """Owns keys, models, runs and usage."""

    organization_id: str
    name: str
    plan: Plan
    overrides: Limits
    created_at: datetime
    omit_provenance: bool = False
    """Keeps parameters out of its image files."""

    @property
    def limits(self) -> Limits:
        """The numbers in force."""
        return limits_in_force(self.plan, self.overrides)


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key's public half."""

    key_id: str
    organization_id: str
    name: str
    prefix: str
    permissions: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    allowed_model_ids: tuple[str, ...] = ()
    """The only models it may draw with; empty: all."""
    images_per_month: int = 0
    """0: only the organization's limit."""
    images_used: int = 0
    """This month's, the reserved ones too, where it has a limit of its own."""
    created_by_user_id: str = ""
    """Who answers for it; empty: an operator, or not known."""


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Who stands behind a key that is not revoked or a session that has not ended; limits are the organization's."""

    organization_id: str
    key_id: str
    plan: Plan
    limits: Limits
    permissions: frozenset[str]
    expires_at: datetime | None
    allowed_model_ids: tuple[str, ...] = ()
    images_per_month: int = 0
    omit_provenance: bool = False
    user_id: str = ""
    """Who is logged in, where a session asks; key_id is empty then."""
    role: Role | None = None
    session_id: str = ""
    is_administrator: bool = False
    is_verified: bool = True
    """The mail address of who is logged in is proven."""
    is_barred: bool = False
    """It must be, and is not: they only look."""

    @property
    def is_restricted(self) -> bool:
        """Tell whether the key has limits of its own."""
        return not self.session_id and bool(self.allowed_model_ids or self.images_per_month or self.expires_at)

    def is_expired(self, now: datetime) -> bool:
        """Tell whether the key or the session has stopped working."""
        return self.expires_at is not None and now >= self.expires_at


@dataclasses.dataclass(frozen=True, slots=True)
class DailyUsage:
    """What one key drew with one model on one day; sums have no day, key or model."""

    day: date | None
    key_id: str
    model_id: str
    images: int
    megapixel_steps: float
    device_ms: int
