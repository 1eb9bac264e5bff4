"""The shapes of what asks for pictures, and of what is answered at once, in `/openapi.json`, as data."""

from __future__ import annotations

from typing import Final

from services.gateway.schemas_sources import source_schemas
from services.gateway.shapes import TEXT, WHOLE, Json, closed, nullable, ref, text
from services.gateway.submission import (
    FIELDS,
    MAX_EXTRA_LORAS,
    MAX_SEED,
    MAX_STEPS,
    MIN_SIDE_PX,
    OUTPUT_FORMATS,
)

_SIDE: Final[Json] = {
    "type": "integer",
    "minimum": MIN_SIDE_PX,
    "multipleOf": 8,
    "description": "Pixels, up to the base model's maximum; default: the base model's.",
}
_WEIGHT: Final[Json] = {"type": "number", "minimum": 0, "maximum": 2, "default": 1.0}
METADATA: Final[Json] = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": text(1, 64),
    "additionalProperties": text(0, 512),
    "description": "Yours, handed back untouched.",
}


SUBMISSION_FIELDS: Final[Json] = {
    "positive_prompt": text(1, 2000),
    "negative_prompt": {**text(0, 2000), "default": ""},
    "model_id": {**text(1, 64), "description": "A LoRA or a base model."},
    "lora_weight": {
        **_WEIGHT,
        "description": "Strength of model_id's LoRA; 0 gives the base model's image. "
        "Without effect where model_id is a base model.",
    },
    "loras": {
        "type": "array",
        "maxItems": MAX_EXTRA_LORAS,
        "items": closed({"model_id": TEXT, "weight": _WEIGHT}, optional=("weight",)),
        "description": "More LoRAs of the same base model.",
    },
    "guidance": {"type": "number", "minimum": 1, "maximum": 20, "description": "Default: the base model's."},
    "width": _SIDE,
    "height": _SIDE,
    "steps": {"type": "integer", "minimum": 1, "maximum": MAX_STEPS, "description": "Default: the base model's."},
    "seed": {"type": "integer", "minimum": 0, "maximum": MAX_SEED, "description": "Chosen where absent."},
    "scheduler": {
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "description": "One of the base model's list; default: its own.",
    },
    "output_format": {"enum": list(OUTPUT_FORMATS), "default": "png"},
    "metadata": METADATA,
    "webhook_url": {
        "type": "string",
        "format": "uri",
        "minLength": 1,
        "maxLength": 2048,
        "description": "Told of this run's end, besides the registered webhooks: an https URL of a public host.",
    },
    "dry_run": {
        "type": "boolean",
        "default": False,
        "description": "Check and price the request; store, reserve and queue nothing.",
    },
}

#: What a run's parameters say again; those of an enlarged picture are not bounded as a submit's, and may be empty.
_DRAWN: Final = [
    (name, field)
    for name, field in SUBMISSION_FIELDS.items()
    if name not in ("webhook_url", "metadata", "dry_run", "width", "height")
]
_BOUNDS: Final = ("minimum", "maximum", "minLength", "default", "description")

_PICTURE: Final[Json] = {
    "url": {"type": "string", "format": "uri"},
    "b64_json": {"type": "string", "contentEncoding": "base64"},
    "run_id": TEXT,
    "seed": WHOLE,
}

SUBMISSION_SCHEMAS: Final[dict[str, Json]] = {
    "ImageRequest": closed(
        {
            "prompt": text(1, 2000),
            "model": {**text(1, 64), "description": "A LoRA or a base model."},
            "n": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
            "size": {"type": "string", "default": "auto", "description": "`auto` or `WxH`, such as `512x512`."},
            "response_format": {"enum": ["url", "b64_json"], "default": "url"},
            "output_format": SUBMISSION_FIELDS["output_format"],
            "quality": {"enum": ["auto", "standard"], "description": "Without effect; other values are refused."},
            "style": {"enum": ["natural"], "description": "Without effect; other values are refused."},
            "background": {"enum": ["auto", "opaque"], "description": "Without effect; images are opaque."},
            "user": {**text(0, 512), "description": "Kept in the runs' metadata."},
            **{
                name: SUBMISSION_FIELDS[name]
                for name in ("negative_prompt", "lora_weight", "loras", "guidance", "steps", "seed", "scheduler")
            },
        },
        optional=(
            *("n", "size", "response_format", "output_format", "quality", "style", "background", "user"),
            *("negative_prompt", "lora_weight", "loras", "guidance", "steps", "seed", "scheduler"),
        ),
    ),
    "ImageAnswer": closed(
        {
            "created": WHOLE,
            "data": {"type": "array", "items": closed(_PICTURE, optional=("url", "b64_json"))},
            "output_format": TEXT,
            "size": TEXT,
        }
    ),
    "OpenaiError": closed({"error": closed({"message": TEXT, "type": TEXT, "param": nullable(TEXT), "code": TEXT})}),
    "Submission": closed(
        SUBMISSION_FIELDS, optional=tuple(name for name in FIELDS if name not in ("positive_prompt", "model_id"))
    ),
    **source_schemas(SUBMISSION_FIELDS),
    "Parameters": closed(
        {
            **{name: {key: value for key, value in field.items() if key not in _BOUNDS} for name, field in _DRAWN},
            "width": WHOLE,
            "height": WHOLE,
        },
        optional=("lora_weight",),
    ),
    "Urls": closed({"self": TEXT, "events": TEXT, "cancel": TEXT}),
    "Submitted": closed(
        {
            "run_id": TEXT,
            "status": {"const": "queued"},
            "estimated_time": {"type": "integer", "description": "Whole seconds."},
            "seed": WHOLE,
            "urls": ref("Urls"),
        }
    ),
    "DryRun": closed(
        {
            "dry_run": {"const": True},
            "would_be_accepted": {"type": "boolean"},
            "blocked_by": {
                "type": "array",
                "items": closed({"code": ref("ErrorCode"), "message": TEXT}),
                "description": "The limits that would refuse it now, with the code and words of that refusal.",
            },
            "images": {"type": "integer", "description": "How many images of the month it takes."},
            "megapixel_steps": {"type": "number", "description": "Work: width x height / 1,000,000 x steps."},
            "estimated_time": {"type": "integer", "description": "Whole seconds from now."},
            "base_model_id": TEXT,
            "parameters": {
                "description": "A body for POST /v1/generate, defaults filled in and a seed chosen.",
                **ref("Parameters"),
            },
            "loras": {
                "type": "array",
                "items": closed(
                    {
                        "model_id": TEXT,
                        "name": TEXT,
                        "weight": {"type": "number"},
                        "rank": WHOLE,
                        "trigger_words": {"type": "array", "items": TEXT},
                    }
                ),
                "description": "The LoRAs in the order in which they are applied; all of them fit the base model.",
            },
            "limits": ref("Limits"),
        }
    ),
}
