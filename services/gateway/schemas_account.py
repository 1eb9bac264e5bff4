"""The shapes of keys, organizations and usage in `/openapi.json`, as data."""

from __future__ import annotations

from typing import Any, Final

from imagineo.permissions import SCOPES

from services.gateway.accounts import MAX_MODELS, MAX_MONTHLY_IMAGES, PLAN_WORDS
from services.gateway.shapes import TEXT, TIME, WHOLE, closed, nullable, page, text

_NAME: Final = text(1, 100)
_SCOPES: Final = {"type": "array", "items": {"enum": list(SCOPES)}}
_MODELS: Final = {"type": "array", "items": text(1, 64)}
_AMOUNTS: Final[dict[str, Any]] = {
    "images": WHOLE,
    "megapixel_steps": {"type": "number", "description": "width * height / 1,000,000 * steps, summed."},
    "device_seconds": {"type": "number", "description": "How long a GPU (or CPU) worked on them."},
}
_KEY: Final[dict[str, Any]] = {
    "id": TEXT,
    "name": TEXT,
    "prefix": {"type": "string", "description": "The secret's first characters, to recognise it by."},
    "scopes": _SCOPES,
    "allowed_models": {**nullable(_MODELS), "description": "The only models that it may draw with; null: all."},
    "monthly_images": {**nullable(WHOLE), "description": "Its own limit; null: only the organization's."},
    "monthly_images_used": nullable(WHOLE),
    "created_at": TIME,
    "expires_at": nullable(TIME),
    "revoked_at": nullable(TIME),
    "last_used_at": {**nullable(TIME), "description": "To the minute."},
    "created_by": {
        **nullable(TEXT),
        "description": "The user_id of the member who made it, or who made the key that did: it ends with what they "
        "may. Null: an operator, or not known.",
    },
}

ACCOUNT_SCHEMAS: Final[dict[str, Any]] = {
    "Key": closed(_KEY),
    "Keys": page("keys", "Key"),
    "NewKey": closed({**_KEY, "secret": {"type": "string", "description": "Shown this once."}}),
    "KeyRequest": closed(
        {
            "name": _NAME,
            "scopes": {**_SCOPES, "minItems": 1, "description": "Default: those of the key that asks."},
            "expires_at": {**TIME, "description": "When it stops working; default: never."},
            "allowed_models": {**_MODELS, "minItems": 1, "maxItems": MAX_MODELS},
            "monthly_images": {"type": "integer", "minimum": 1, "maximum": MAX_MONTHLY_IMAGES},
        },
        optional=("scopes", "expires_at", "allowed_models", "monthly_images"),
    ),
    "Organization": closed(
        {
            "id": TEXT,
            "name": TEXT,
            "plan": {"enum": list(PLAN_WORDS.values())},
            "limits": closed({"requests_per_minute": WHOLE, "images_per_month": WHOLE, "queued_runs": WHOLE}),
            "embed_parameters": {
                "type": "boolean",
                "description": "Whether image files carry the parameters that they were drawn with.",
            },
            "created_at": TIME,
        }
    ),
    "OrganizationChange": closed(
        {"name": _NAME, "embed_parameters": {"type": "boolean"}}, optional=("name", "embed_parameters")
    ),
    "Usage": closed(
        {
            "usage": {
                "type": "array",
                "items": closed(
                    {"day": {"type": "string"}, "key_id": nullable(TEXT), "model_id": nullable(TEXT), **_AMOUNTS}
                ),
            },
            "total": closed(_AMOUNTS),
            "next_cursor": nullable(TEXT),
        }
    ),
}
