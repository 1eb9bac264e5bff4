"""The shapes of `/openapi.json`, as data. Tests hold them against what `rendering` and `submission` do."""

from __future__ import annotations

from typing import Final

from services.gateway.rendering import STATUSES
from services.gateway.schemas_account import ACCOUNT_SCHEMAS
from services.gateway.schemas_batches import batch_schemas
from services.gateway.schemas_members import MEMBER_SCHEMAS
from services.gateway.schemas_models import MODEL_SCHEMAS
from services.gateway.schemas_sources import SOURCE, source_schemas
from services.gateway.schemas_webhooks import WEBHOOK_SCHEMAS
from services.gateway.shapes import TEXT as _TEXT
from services.gateway.shapes import TIME as _TIME
from services.gateway.shapes import WHOLE as _WHOLE
from services.gateway.shapes import Json, closed, nullable, text
from services.gateway.shapes import page as _page
from services.gateway.shapes import ref as _ref
from services.gateway.submission import (
    FIELDS,
    MAX_EXTRA_LORAS,
    MAX_SEED,
    MAX_STEPS,
    MIN_SIDE_PX,
    OUTPUT_FORMATS,
    REQUIRED,
)

_SIDE: Final[Json] = {
    "type": "integer",
    "minimum": MIN_SIDE_PX,
    "multipleOf": 8,
    "description": "Pixels, up to the base model's maximum; default: the base model's.",
}
_WEIGHT: Final[Json] = {"type": "number", "minimum": 0, "maximum": 2, "default": 1.0}
_METADATA: Final[Json] = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": text(1, 64),
    "additionalProperties": text(0, 512),
    "description": "Yours, handed back untouched.",
}


_SUBMISSION_FIELDS: Final[Json] = {
    "positive_prompt": text(1, 2000),
    "negative_prompt": {**text(0, 2000), "default": ""},
    "model_id": {**text(1, 64), "description": "A LoRA or a base model."},
    "lora_weight": {**_WEIGHT, "description": "Strength of model_id's LoRA; 0 gives the base model's image."},
    "loras": {
        "type": "array",
        "maxItems": MAX_EXTRA_LORAS,
        "items": closed({"model_id": _TEXT, "weight": _WEIGHT}, optional=("weight",)),
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
    "metadata": _METADATA,
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
    for name, field in _SUBMISSION_FIELDS.items()
    if name not in ("webhook_url", "metadata", "dry_run", "width", "height")
]
_BOUNDS: Final = ("minimum", "maximum", "minLength", "default", "description")

_LIMIT: Final[Json] = {"limit": _WHOLE, "remaining": _WHOLE}

_PICTURE: Final[Json] = {
    "url": {"type": "string", "format": "uri"},
    "b64_json": {"type": "string", "contentEncoding": "base64"},
    "run_id": _TEXT,
    "seed": _WHOLE,
}

SCHEMAS: Final[dict[str, Json]] = {
    **ACCOUNT_SCHEMAS,
    **WEBHOOK_SCHEMAS,
    **batch_schemas(_SUBMISSION_FIELDS, _METADATA, tuple(REQUIRED)),
    "ImageRequest": closed(
        {
            "prompt": text(1, 2000),
            "model": {**text(1, 64), "description": "A LoRA or a base model."},
            "n": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
            "size": {"type": "string", "default": "auto", "description": "`auto` or `WxH`, such as `512x512`."},
            "response_format": {"enum": ["url", "b64_json"], "default": "url"},
            "output_format": _SUBMISSION_FIELDS["output_format"],
            "quality": {"enum": ["auto", "standard"], "description": "Without effect; other values are refused."},
            "style": {"enum": ["natural"], "description": "Without effect; other values are refused."},
            "background": {"enum": ["auto", "opaque"], "description": "Without effect; images are opaque."},
            "user": {**text(0, 512), "description": "Kept in the runs' metadata."},
            **{
                name: _SUBMISSION_FIELDS[name]
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
            "created": _WHOLE,
            "data": {"type": "array", "items": closed(_PICTURE, optional=("url", "b64_json"))},
            "output_format": _TEXT,
            "size": _TEXT,
        }
    ),
    "OpenaiError": closed(
        {"error": closed({"message": _TEXT, "type": _TEXT, "param": nullable(_TEXT), "code": _TEXT})}
    ),
    "Submission": closed(
        _SUBMISSION_FIELDS, optional=tuple(name for name in FIELDS if name not in ("positive_prompt", "model_id"))
    ),
    **source_schemas(_SUBMISSION_FIELDS),
    "Parameters": closed(
        {
            **{name: {key: value for key, value in field.items() if key not in _BOUNDS} for name, field in _DRAWN},
            "width": _WHOLE,
            "height": _WHOLE,
        },
        optional=("lora_weight",),
    ),
    "Urls": closed({"self": _TEXT, "events": _TEXT, "cancel": _TEXT}),
    "Submitted": closed(
        {
            "run_id": _TEXT,
            "status": {"const": "queued"},
            "estimated_time": {"type": "integer", "description": "Whole seconds."},
            "seed": _WHOLE,
            "urls": _ref("Urls"),
        }
    ),
    "DryRun": closed(
        {
            "dry_run": {"const": True},
            "would_be_accepted": {"type": "boolean"},
            "blocked_by": {
                "type": "array",
                "items": closed({"code": _ref("ErrorCode"), "message": _TEXT}),
                "description": "The limits that would refuse it now, with the code and words of that refusal.",
            },
            "images": {"type": "integer", "description": "How many images of the month it takes."},
            "megapixel_steps": {"type": "number", "description": "Work: width x height / 1,000,000 x steps."},
            "estimated_time": {"type": "integer", "description": "Whole seconds from now."},
            "base_model_id": _TEXT,
            "parameters": {
                "description": "A body for POST /v1/generate, defaults filled in and a seed chosen.",
                **_ref("Parameters"),
            },
            "loras": {
                "type": "array",
                "items": closed(
                    {
                        "model_id": _TEXT,
                        "name": _TEXT,
                        "weight": {"type": "number"},
                        "rank": _WHOLE,
                        "trigger_words": {"type": "array", "items": _TEXT},
                    }
                ),
                "description": "The LoRAs in the order in which they are applied; all of them fit the base model.",
            },
            "limits": _ref("Limits"),
        }
    ),
    "Generation": closed(
        {
            "run_id": _TEXT,
            "status": {"enum": list(STATUSES)},
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "step": {"type": "integer", "minimum": 0, "description": "Denoising steps that are done."},
            "image_url": nullable({"type": "string", "format": "uri"}),
            "image_url_expires_at": nullable(_TIME),
            "seed": _WHOLE,
            "model_id": _TEXT,
            "base_model_id": _TEXT,
            "loras": {"type": "array", "items": _ref("LoraReport")},
            "parameters": {
                "description": "A body for POST /v1/generate that gives the same image, where it has no source.",
                **_ref("Parameters"),
            },
            "queue_position": nullable(_WHOLE),
            "waiting_for": nullable(_TEXT),
            "estimated_time": {"type": "integer", "description": "Whole seconds left."},
            "created_at": _TIME,
            "started_at": nullable(_TIME),
            "finished_at": nullable(_TIME),
            "attempts": _WHOLE,
            "error": nullable(closed({"code": _TEXT, "message": _TEXT})),
            "image": nullable(
                closed({"width": _WHOLE, "height": _WHOLE, "format": _TEXT, "bytes": _WHOLE, "sha256": _TEXT})
            ),
            "source": nullable(_ref("Source")),
            "replay": nullable(_ref("Replay")),
            "batch_id": nullable({**_TEXT, "description": "The batch that it came with."}),
            "metadata": _METADATA,
            "urls": _ref("Urls"),
        }
    ),
    "Replay": closed(
        {
            "run_id": {"type": "string", "description": "The generation that is drawn again."},
            "result": {
                "enum": ["match", "near", "differs", None],
                "description": "`match`: every pixel is the same; `near`: 40 dB or more; null until it is known, "
                "or where the first image is gone.",
            },
            "psnr_db": {
                **nullable({"type": "number"}),
                "description": "Peak signal-to-noise ratio of the two images; null where they match.",
            },
        }
    ),
    "ReplayRequest": closed(
        {name: _SUBMISSION_FIELDS[name] for name in ("webhook_url", "metadata")}, optional=("webhook_url", "metadata")
    ),
    "Manifest": closed(
        {
            "run_id": _TEXT,
            "created_at": _TIME,
            "finished_at": _TIME,
            "parameters": _ref("Parameters"),
            "source": nullable(closed({**SOURCE, "sha256": {**_TEXT, "description": "Of its file."}})),
            "base_model": closed(
                {
                    "id": _TEXT,
                    "slug": nullable(_TEXT),
                    "sha256": {**nullable(_TEXT), "description": "Over the lines `<path> <sha256>` of its files."},
                }
            ),
            "loras": {
                "type": "array",
                "items": closed({"model_id": _TEXT, "sha256": _TEXT, "weight": {"type": "number"}}),
                "description": "Those that had a part; one of weight 0 has none.",
            },
            "device": nullable(_TEXT),
            "dtype": nullable(_TEXT),
            "versions": {"type": "object", "additionalProperties": _TEXT},
            "image": closed(
                {
                    "sha256": _TEXT,
                    "pixels_sha256": {**nullable(_TEXT), "description": "Over the 8-bit RGB rows."},
                    "format": _TEXT,
                    "width": _WHOLE,
                    "height": _WHOLE,
                    "bytes": _WHOLE,
                }
            ),
        }
    ),
    "LoraReport": closed(
        {
            "model_id": _TEXT,
            "weight": {"type": "number"},
            "matched_keys": nullable(_WHOLE),
            "ignored_keys": nullable(_WHOLE),
        }
    ),
    "Generations": _page("generations", "Generation"),
    **MODEL_SCHEMAS,
    **MEMBER_SCHEMAS,
    "Models": _page("models", "Model"),
    "BaseModel": closed(
        dict.fromkeys(("id", "slug", "name", "description", "family"), _TEXT)
        | {"created_at": _TIME}
        | dict.fromkeys(("native_size", "default_width", "default_height", "max_width", "max_height"), _WHOLE)
        | {"default_steps": _WHOLE, "max_steps": _WHOLE, "default_guidance": {"type": "number"}}
        | {"schedulers": {"type": "array", "items": _TEXT}, "default_scheduler": _TEXT, "license": _TEXT}
    ),
    "BaseModels": _page("base_models", "BaseModel"),
    "Limits": closed(
        {
            "plan": {"enum": ["free", "basic", "premium"]},
            "requests_per_minute": closed({**_LIMIT, "resets_at": _TIME}),
            "images_per_month": closed({**_LIMIT, "used": _WHOLE, "reserved": _WHOLE, "resets_at": _TIME}),
            "queued_runs": closed(_LIMIT),
            "body_limit_bytes": _WHOLE,
            "model_file_limit_bytes": {**_WHOLE, "description": "Of an uploaded LoRA."},
            "picture_file_limit_bytes": {**_WHOLE, "description": "Of an uploaded picture."},
            "picture_limit_pixels": {**_WHOLE, "description": "Width times height of an uploaded picture."},
            "upscaled_side_limit_pixels": {**_WHOLE, "description": "Of an enlarged picture."},
            "max_wait_s": _WHOLE,
            "batch_items": {**_WHOLE, "description": "The most items of one batch."},
            "batch_body_limit_bytes": _WHOLE,
        }
    ),
    "Health": closed({"status": {"const": "ok"}}),
    "Readiness": closed(
        {
            "ready": {"type": "boolean"},
            "dependencies": {
                "type": "object",
                "additionalProperties": closed({"ok": {"type": "boolean"}, "required": {"type": "boolean"}}),
            },
        }
    ),
    "Error": closed(
        {
            "error": closed(
                {
                    "code": _ref("ErrorCode"),
                    "message": _TEXT,
                    "param": {"type": "string", "description": "The field or header that is meant."},
                    "details": {"type": "object", "additionalProperties": _TEXT},
                    "request_id": _TEXT,
                },
                optional=("param", "details"),
            )
        }
    ),
}
