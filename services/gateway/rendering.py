"""Protocol messages as REST objects; the generation's, which webhooks send too, is `imagineo.wire.shown`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors
from imagineo.jobs.estimate import work_of
from imagineo.v1 import auth_service_pb2, generation_pb2, model_pb2
from imagineo.wire.shown import FORMAT_WORDS, STATUS_WORDS, STATUSES, body_of, generation, image_name, moment, urls

from services.gateway.accounts import PLAN_WORDS
from services.gateway.batch_body import MAX_ITEMS
from services.gateway.beginning import MAX_UPSCALED_SIDE_PX
from services.gateway.picture_file import MAX_BYTES, MAX_PIXELS

__all__ = ["FORMAT_WORDS", "STATUSES", "STATUS_WORDS", "body_of", "generation", "image_name", "moment", "urls"]


def submitted(run_id: str, seed: int, estimated_time_s: int, public_url: str) -> dict[str, Any]:
    """The answer to a submit; a replay gives the same bytes."""
    return {
        "run_id": run_id,
        "status": "queued",
        "estimated_time": estimated_time_s,
        "seed": seed,
        "urls": urls(public_url, run_id),
    }


def dry_run(
    parameters: generation_pb2.Parameters,
    loras: Sequence[model_pb2.Lora],
    *,
    estimated_time_s: int,
    blocked_by: Sequence[errors.Refused],
    shown_limits: dict[str, Any],
    images: int = 1,
) -> dict[str, Any]:
    """The answer to a submit that was only tried."""
    return {
        "dry_run": True,
        "would_be_accepted": not blocked_by,
        "blocked_by": [{"code": problem.code, "message": problem.message} for problem in blocked_by],
        "images": images,
        "megapixel_steps": round(images * work_of(parameters), 6),
        "estimated_time": estimated_time_s,
        "base_model_id": parameters.base_model_id,
        "parameters": body_of(parameters),
        "loras": [
            {
                "model_id": use.model_id,
                "name": lora.name,
                "weight": use.weight,
                "rank": lora.rank,
                "trigger_words": list(lora.trigger_words),
            }
            for use, lora in zip(parameters.loras if loras else (), loras, strict=True)
        ],
        "limits": shown_limits,
    }


def base_model(base: model_pb2.BaseModel) -> dict[str, Any]:
    """One base model."""
    return {
        "id": base.base_model_id,
        "slug": base.slug,
        "name": base.name,
        "description": base.description,
        "family": base.family,
        "created_at": moment(base.created_at),
        "native_size": base.native_px,
        "default_width": base.default_width,
        "default_height": base.default_height,
        "max_width": base.max_width,
        "max_height": base.max_height,
        "default_steps": base.default_steps,
        "max_steps": base.max_steps,
        "default_guidance": base.default_guidance,
        "schedulers": list(base.schedulers),
        "default_scheduler": base.default_scheduler,
        "license": base.license,
    }


def limits(
    usage: auth_service_pb2.GetUsageResponse,
    *,
    unfinished_count: int,
    body_limit_bytes: int,
    model_file_limit_bytes: int,
    batch_body_limit_bytes: int,
    max_wait_s: int,
) -> dict[str, Any]:
    """Every limit that applies, and what is left of it."""
    bounds, rate = usage.organization.limits, usage.rate_limit
    taken = usage.images_used + usage.images_reserved
    return {
        "plan": PLAN_WORDS.get(usage.organization.plan, "free"),
        "requests_per_minute": {
            "limit": rate.limit or bounds.requests_per_minute,
            "remaining": rate.remaining,
            "resets_at": moment(Timestamp(seconds=rate.reset_at_epoch_s)),
        },
        "images_per_month": {
            "limit": bounds.images_per_month,
            "used": usage.images_used,
            "reserved": usage.images_reserved,
            "remaining": max(0, bounds.images_per_month - taken),
            "resets_at": moment(usage.month_resets_at),
        },
        "queued_runs": {
            "limit": bounds.queued_runs,
            "remaining": max(0, bounds.queued_runs - unfinished_count),
        },
        "body_limit_bytes": body_limit_bytes,
        "model_file_limit_bytes": model_file_limit_bytes,
        "picture_file_limit_bytes": MAX_BYTES,
        "picture_limit_pixels": MAX_PIXELS,
        "upscaled_side_limit_pixels": MAX_UPSCALED_SIDE_PX,
        "max_wait_s": max_wait_s,
        "batch_items": MAX_ITEMS,
        "batch_body_limit_bytes": batch_body_limit_bytes,
    }
