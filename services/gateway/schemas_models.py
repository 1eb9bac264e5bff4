"""The shapes of LoRAs in `/openapi.json`, as data."""

from __future__ import annotations

from typing import Final

from services.gateway.model_fields import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_SHARED_WITH,
    MAX_TRIGGER_WORD_CHARACTERS,
    MAX_TRIGGER_WORDS,
    SHARINGS,
)
from services.gateway.shapes import TEXT, TIME, WHOLE, Json, closed, nullable, ref, text

_NOT_BLANK: Final[Json] = {"allOf": [{"pattern": r"\S"}]}
_NAME: Final[Json] = {**text(1, MAX_NAME_CHARACTERS), **_NOT_BLANK}
_DESCRIPTION: Final[Json] = text(0, MAX_DESCRIPTION_CHARACTERS)
_TRIGGER_WORDS: Final[Json] = {
    "type": "array",
    "maxItems": MAX_TRIGGER_WORDS,
    "items": {**text(1, MAX_TRIGGER_WORD_CHARACTERS), **_NOT_BLANK},
    "description": "Words that wake it in a prompt.",
}
_SHARING: Final[Json] = {
    "enum": list(SHARINGS),
    "description": "`private`: your organization; `organizations`: also those in `shared_with`; `public`: everybody.",
}
_SHARED_WITH: Final[Json] = {
    "type": "array",
    "maxItems": MAX_SHARED_WITH,
    "items": {"type": "string", "pattern": "^org_[0-7][0-9a-hjkmnp-tv-z]{25}$"},
    "description": "Organizations by id; given where, and only where, `sharing` is `organizations`.",
}


MODEL_SCHEMAS: Final[dict[str, Json]] = {
    "Model": closed(
        {
            "id": TEXT,
            "name": TEXT,
            "description": TEXT,
            "created_at": TIME,
            "base_model_id": TEXT,
            "trigger_words": {"type": "array", "items": TEXT},
            "rank": {"type": "integer", "description": "The largest of its modules'."},
            "size_bytes": WHOLE,
            "sha256": {"type": "string", "description": "The digest of its file."},
            "naming": {"enum": ["diffusers", "peft", "kohya"], "description": "How its file names its keys."},
            "shared": {"type": "boolean", "description": "It is the platform's or another organization's."},
            "owned": {"type": "boolean", "description": "It is your organization's."},
            "sharing": _SHARING,
            "shared_with": nullable({"type": "array", "items": TEXT, "description": "Null where it is not yours."}),
            "warm": {"type": "boolean", "description": "A worker holds it in memory; a cold one is loaded first."},
            "check": nullable(ref("ModelCheck")),
            "sample_run_id": nullable({"type": "string", "description": "The run of its sample; null if not yours."}),
            "sample_image_url": nullable({"type": "string", "format": "uri", "description": "Null until it is drawn."}),
            "sample_image_url_expires_at": nullable(TIME),
        }
    ),
    "ModelCheck": {
        **closed(
            {
                "family": nullable({"type": "string", "description": "What it seems to be made for, for people."}),
                "ranks": {"type": "array", "items": WHOLE},
                "alphas": {"type": "array", "items": {"type": "number"}, "description": "None: each as its rank."},
                "target_modules": {"type": "array", "items": TEXT},
                "matched_keys": {"type": "integer", "description": "Tensors that the base model takes."},
                "ignored_keys": {"type": "integer", "description": "Tensors that it does not take."},
                "matched_ratio": {"type": "number", "minimum": 0, "maximum": 1},
            }
        ),
        "description": "What was found when its file was held against its base model.",
    },
    "ModelForm": closed(
        {
            "file": {"type": "string", "contentMediaType": "application/octet-stream", "description": "safetensors."},
            "name": _NAME,
            "base_model_id": text(1, 64),
            "description": _DESCRIPTION,
            "trigger_words": {**_TRIGGER_WORDS, "description": "The field repeated, or words with commas between."},
            "sharing": {**_SHARING, "default": "private"},
            "shared_with": _SHARED_WITH,
        },
        optional=("description", "trigger_words", "sharing", "shared_with"),
    ),
    "ModelChange": {
        **closed(
            {
                "name": _NAME,
                "description": _DESCRIPTION,
                "trigger_words": _TRIGGER_WORDS,
                "sharing": _SHARING,
                "shared_with": _SHARED_WITH,
            },
            optional=("name", "description", "trigger_words", "sharing", "shared_with"),
        ),
        "minProperties": 1,
        # Whom it is shared with stands where, and only where, it is shared with some.
        "if": {"properties": {"sharing": {"const": "organizations"}}, "required": ["sharing"]},
        "then": {"required": ["shared_with"], "properties": {"shared_with": {"minItems": 1}}},
        "else": {"not": {"required": ["shared_with"]}},
    },
}
