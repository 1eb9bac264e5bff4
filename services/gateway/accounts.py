"""Keys, organizations and usage as REST reads and shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors
from imagineo.permissions import SCOPE_WORDS, SCOPES
from imagineo.v1 import account_pb2 as pb
from imagineo.v1 import auth_service_pb2
from imagineo.wire.shown import moment

from services.gateway.fields import Check, text, truth, whole
from services.gateway.fields import moment as instant
from services.gateway.submission import checked

MAX_MODELS: Final = 100
MAX_MONTHLY_IMAGES: Final = 1_000_000_000

PLAN_WORDS: Final[dict[pb.Plan.ValueType, str]] = {
    pb.PLAN_FREE: "free",
    pb.PLAN_BASIC: "basic",
    pb.PLAN_PREMIUM: "premium",
}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is asked for."""

    name: str
    permissions: tuple[pb.Permission.ValueType, ...] = ()
    """None named: those of the key that asks."""
    expires_at: Timestamp | None = None
    allowed_model_ids: tuple[str, ...] = ()
    images_per_month: int = 0


def _some(check: Check, low: int, high: int, allowed: str) -> Check:
    def check_all(param: str, value: object) -> list[Any]:
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise errors.InvalidParameter.of(param, allowed)
        return [check(f"{param}[{index}]", entry) for index, entry in enumerate(value)]

    return check_all


def _scope(param: str, value: object) -> pb.Permission.ValueType:
    if type(value) is not str or value not in SCOPES:
        raise errors.InvalidParameter.of(param, "one of " + ", ".join(SCOPES))
    return SCOPES[value]


_KEY_FIELDS: Final[dict[str, Check]] = {
    "name": text(1, 100),
    "scopes": _some(_scope, 1, len(SCOPES), f"a list of 1 to {len(SCOPES)} scopes"),
    "expires_at": instant,
    "allowed_models": _some(text(1, 64), 1, MAX_MODELS, f"a list of 1 to {MAX_MODELS} ids of models"),
    "monthly_images": whole(1, MAX_MONTHLY_IMAGES),
}

_ORGANIZATION_FIELDS: Final[dict[str, Check]] = {"name": text(1, 100), "embed_parameters": truth}


def read_new_key(document: dict[str, Any]) -> NewKey:
    """Check the body of `POST /v1/keys`.

    Raises:
        UnknownField, InvalidParameter: naming the field.
    """
    values = checked(document, _KEY_FIELDS, {"name": "a string of 1 to 100 characters"}, within="")
    return NewKey(
        name=values["name"],
        permissions=tuple(dict.fromkeys(values.get("scopes", ()))),
        expires_at=values.get("expires_at"),
        allowed_model_ids=tuple(values.get("allowed_models", ())),
        images_per_month=values.get("monthly_images", 0),
    )


def check_may_make(principal: pb.Principal, wanted: NewKey) -> None:
    """Refuse a key that could do more than the one that asks for it.

    Raises:
        PermissionDenied: naming the scope that it lacks, or that it has limits of its own.
    """
    if principal.is_restricted:
        raise errors.PermissionDenied("A key with limits of its own (models, images, expiry) makes no other keys.")
    for permission in wanted.permissions:
        if permission not in principal.permissions:
            word = SCOPE_WORDS[permission]
            raise errors.PermissionDenied(
                f"Who makes a key needs the scope '{word}' to give it.", metadata={"permission": word}
            )


def check_may_revoke(principal: pb.Principal, key_id: str) -> None:
    """Let a key with limits of its own end no key but itself.

    Raises:
        PermissionDenied: for any other.
    """
    if principal.is_restricted and key_id != principal.key_id:
        raise errors.PermissionDenied("A key with limits of its own (models, images, expiry) revokes no other key.")


def check_models(principal: pb.Principal, named: Mapping[str, str]) -> None:
    """Refuse models that the key may not draw with; `named` is model_id by parameter.

    Raises:
        PermissionDenied: naming the parameter.
    """
    allowed = frozenset(principal.allowed_model_ids)
    for param, model_id in named.items() if allowed else ():
        if model_id not in allowed:
            raise errors.PermissionDenied(
                f"The key may not draw with the model in '{param}'.", metadata={"param": param}
            )


def read_organization_change(document: dict[str, Any]) -> Mapping[str, Any]:
    """Check the body of `PATCH /v1/organization`.

    Raises:
        UnknownField, InvalidParameter: naming the field.
    """
    return checked(document, _ORGANIZATION_FIELDS, {}, within="")


def key(found: pb.ApiKey) -> dict[str, Any]:
    """A key's public half."""
    return {
        "id": found.key_id,
        "name": found.name,
        "prefix": found.prefix,
        "scopes": [SCOPE_WORDS[permission] for permission in found.permissions if permission in SCOPE_WORDS],
        "allowed_models": list(found.allowed_model_ids) or None,
        "monthly_images": found.images_per_month or None,
        "monthly_images_used": found.images_used if found.images_per_month else None,
        "created_at": moment(found.created_at),
        "expires_at": moment(found.expires_at) if found.HasField("expires_at") else None,
        "revoked_at": moment(found.revoked_at) if found.HasField("revoked_at") else None,
        "last_used_at": moment(found.last_used_at) if found.HasField("last_used_at") else None,
        "created_by": found.created_by_user_id or None,
    }


def organization(found: pb.Organization) -> dict[str, Any]:
    """The organization behind a key."""
    return {
        "id": found.organization_id,
        "name": found.name,
        "plan": PLAN_WORDS.get(found.plan, "free"),
        "limits": {
            "requests_per_minute": found.limits.requests_per_minute,
            "images_per_month": found.limits.images_per_month,
            "queued_runs": found.limits.queued_runs,
        },
        "embed_parameters": not found.omit_provenance,
        "created_at": moment(found.created_at),
    }


def usage(found: auth_service_pb2.ListUsageResponse, next_cursor: str | None) -> dict[str, Any]:
    """A page of usage with the sums of all pages."""
    return {
        "usage": [
            {"day": row.day, "key_id": row.key_id or None, "model_id": row.model_id or None, **_amounts(row)}
            for row in found.usage
        ],
        "total": _amounts(found.total),
        "next_cursor": next_cursor,
    }


def _amounts(row: pb.DailyUsage) -> dict[str, Any]:
    return {
        "images": row.images,
        "megapixel_steps": round(row.megapixel_steps, 6),
        "device_seconds": round(row.device_ms / 1000, 3),
    }
