"""The nouns of this service: organizations, keys, permissions, and who stands behind a key. Pure."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime

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


@dataclasses.dataclass(frozen=True, slots=True)
class Organization:
    """Owns keys, models, runs and usage."""

    organization_id: str
    name: str
    plan: Plan
    overrides: Limits
    created_at: datetime

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


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Who stands behind a key that is not revoked, with the limits of its organization."""

    organization_id: str
    key_id: str
    plan: Plan
    limits: Limits
    permissions: frozenset[str]
    expires_at: datetime | None

    def is_expired(self, now: datetime) -> bool:
        """Tell whether the key has stopped working."""
        return self.expires_at is not None and now >= self.expires_at
