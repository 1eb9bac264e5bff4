"""The shapes of a generation, of how it was drawn, and of drawing it again, in `/openapi.json`, as data."""

from __future__ import annotations

from typing import Final

from services.gateway.rendering import STATUSES
from services.gateway.schemas_sources import SOURCE
from services.gateway.schemas_submissions import METADATA, SUBMISSION_FIELDS
from services.gateway.shapes import TEXT, TIME, WHOLE, Json, closed, nullable, page, ref

GENERATION_SCHEMAS: Final[dict[str, Json]] = {
    "Generation": closed(
        {
            "run_id": TEXT,
            "status": {"enum": list(STATUSES)},
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "step": {"type": "integer", "minimum": 0, "description": "Denoising steps that are done."},
            "image_url": nullable({"type": "string", "format": "uri"}),
            "image_url_expires_at": nullable(TIME),
            "seed": WHOLE,
            "model_id": TEXT,
            "base_model_id": TEXT,
            "loras": {"type": "array", "items": ref("LoraReport")},
            "parameters": {
                "description": "A body for POST /v1/generate that gives the same image, where it has no source.",
                **ref("Parameters"),
            },
            "queue_position": nullable(WHOLE),
            "waiting_for": nullable(TEXT),
            "estimated_time": {"type": "integer", "description": "Whole seconds left."},
            "created_at": TIME,
            "started_at": nullable(TIME),
            "finished_at": nullable(TIME),
            "attempts": WHOLE,
            "error": nullable(closed({"code": TEXT, "message": TEXT})),
            "image": nullable(
                closed({"width": WHOLE, "height": WHOLE, "format": TEXT, "bytes": WHOLE, "sha256": TEXT})
            ),
            "source": nullable(ref("Source")),
            "replay": nullable(ref("Replay")),
            "batch_id": nullable({**TEXT, "description": "The batch that it came with."}),
            "metadata": METADATA,
            "urls": ref("Urls"),
        }
    ),
    "Preview": closed(
        {
            "run_id": TEXT,
            "step": {"type": "integer", "minimum": 1, "description": "The step that it shows."},
            "steps": {"type": "integer", "minimum": 1},
            "image": {
                "type": "string",
                "pattern": "^data:image/webp;base64,",
                "description": "A WebP picture of at most 256 pixels a side and 24 KiB, as a data URL.",
            },
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
        {name: SUBMISSION_FIELDS[name] for name in ("webhook_url", "metadata")}, optional=("webhook_url", "metadata")
    ),
    "Manifest": closed(
        {
            "run_id": TEXT,
            "created_at": TIME,
            "finished_at": TIME,
            "parameters": ref("Parameters"),
            "source": nullable(closed({**SOURCE, "sha256": {**TEXT, "description": "Of its file."}})),
            "base_model": closed(
                {
                    "id": TEXT,
                    "slug": nullable(TEXT),
                    "sha256": {**nullable(TEXT), "description": "Over the lines `<path> <sha256>` of its files."},
                }
            ),
            "loras": {
                "type": "array",
                "items": closed({"model_id": TEXT, "sha256": TEXT, "weight": {"type": "number"}}),
                "description": "Those that had a part; one of weight 0 has none.",
            },
            "device": nullable(TEXT),
            "dtype": nullable(TEXT),
            "versions": {"type": "object", "additionalProperties": TEXT},
            "image": closed(
                {
                    "sha256": TEXT,
                    "pixels_sha256": {**nullable(TEXT), "description": "Over the 8-bit RGB rows."},
                    "format": TEXT,
                    "width": WHOLE,
                    "height": WHOLE,
                    "bytes": WHOLE,
                }
            ),
        }
    ),
    "LoraReport": closed(
        {
            "model_id": TEXT,
            "weight": {"type": "number"},
            "matched_keys": nullable(WHOLE),
            "ignored_keys": nullable(WHOLE),
        }
    ),
    "Generations": page("generations", "Generation"),
}
