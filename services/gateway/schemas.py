"""The shapes of `/openapi.json`, as data. Tests hold them against what `rendering` and `submission` do."""

from __future__ import annotations

from typing import Final

from services.gateway.schemas_account import ACCOUNT_SCHEMAS
from services.gateway.schemas_batches import batch_schemas
from services.gateway.schemas_generations import GENERATION_SCHEMAS
from services.gateway.schemas_members import MEMBER_SCHEMAS
from services.gateway.schemas_models import MODEL_SCHEMAS
from services.gateway.schemas_submissions import METADATA, SUBMISSION_FIELDS, SUBMISSION_SCHEMAS
from services.gateway.schemas_webhooks import WEBHOOK_SCHEMAS
from services.gateway.shapes import TEXT, TIME, WHOLE, Json, closed, page, ref
from services.gateway.submission import REQUIRED

_LIMIT: Final[Json] = {"limit": WHOLE, "remaining": WHOLE}

SCHEMAS: Final[dict[str, Json]] = {
    **ACCOUNT_SCHEMAS,
    **WEBHOOK_SCHEMAS,
    **batch_schemas(SUBMISSION_FIELDS, METADATA, tuple(REQUIRED)),
    **SUBMISSION_SCHEMAS,
    **GENERATION_SCHEMAS,
    **MODEL_SCHEMAS,
    **MEMBER_SCHEMAS,
    "Models": page("models", "Model"),
    "BaseModel": closed(
        dict.fromkeys(("id", "slug", "name", "description", "family"), TEXT)
        | {"created_at": TIME}
        | dict.fromkeys(("native_size", "default_width", "default_height", "max_width", "max_height"), WHOLE)
        | {"default_steps": WHOLE, "max_steps": WHOLE, "default_guidance": {"type": "number"}}
        | {"schedulers": {"type": "array", "items": TEXT}, "default_scheduler": TEXT, "license": TEXT}
    ),
    "BaseModels": page("base_models", "BaseModel"),
    "Limits": closed(
        {
            "plan": {"enum": ["free", "basic", "premium"]},
            "requests_per_minute": closed({**_LIMIT, "resets_at": TIME}),
            "images_per_month": closed({**_LIMIT, "used": WHOLE, "reserved": WHOLE, "resets_at": TIME}),
            "queued_runs": closed(_LIMIT),
            "body_limit_bytes": WHOLE,
            "model_file_limit_bytes": {**WHOLE, "description": "Of an uploaded LoRA."},
            "picture_file_limit_bytes": {**WHOLE, "description": "Of an uploaded picture."},
            "picture_limit_pixels": {**WHOLE, "description": "Width times height of an uploaded picture."},
            "upscaled_side_limit_pixels": {**WHOLE, "description": "Of an enlarged picture."},
            "max_wait_s": WHOLE,
            "batch_items": {**WHOLE, "description": "The most items of one batch."},
            "batch_body_limit_bytes": WHOLE,
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
                    "code": ref("ErrorCode"),
                    "message": TEXT,
                    "param": {"type": "string", "description": "The field or header that is meant."},
                    "details": {"type": "object", "additionalProperties": TEXT},
                    "request_id": TEXT,
                },
                optional=("param", "details"),
            )
        }
    ),
}
