"""Protocol messages as REST objects; a generation has one shape wherever it is shown. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors
from imagineo.jobs.estimate import work_of
from imagineo.v1 import account_pb2, auth_service_pb2, generation_pb2, model_pb2

from services.gateway.signing import UrlSigner

STATUS_WORDS: Final[dict[generation_pb2.Status.ValueType, str]] = {
    generation_pb2.STATUS_QUEUED: "queued",
    generation_pb2.STATUS_RUNNING: "running",
    generation_pb2.STATUS_CANCELING: "canceling",
    generation_pb2.STATUS_COMPLETED: "completed",
    generation_pb2.STATUS_FAILED: "failed",
    generation_pb2.STATUS_CANCELED: "canceled",
    generation_pb2.STATUS_EXPIRED: "expired",
}
STATUSES: Final = {word: status for status, word in STATUS_WORDS.items()}

FORMAT_WORDS: Final[dict[generation_pb2.OutputFormat.ValueType, str]] = {
    generation_pb2.OUTPUT_FORMAT_PNG: "png",
    generation_pb2.OUTPUT_FORMAT_WEBP: "webp",
    generation_pb2.OUTPUT_FORMAT_JPEG: "jpeg",
}

_PLAN_WORDS: Final = {
    account_pb2.PLAN_FREE: "free",
    account_pb2.PLAN_BASIC: "basic",
    account_pb2.PLAN_PREMIUM: "premium",
}


def moment(stamp: Timestamp) -> str:
    """RFC 3339 in UTC, with milliseconds where there are any."""
    text = datetime.fromtimestamp(stamp.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    millis = stamp.nanos // 1_000_000
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def urls(public_url: str, run_id: str) -> dict[str, str]:
    """Where a run is read, followed and canceled."""
    own = f"{public_url}/v1/generations/{run_id}"
    return {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel"}


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
) -> dict[str, Any]:
    """The answer to a submit that was only tried."""
    return {
        "dry_run": True,
        "would_be_accepted": not blocked_by,
        "blocked_by": [{"code": problem.code, "message": problem.message} for problem in blocked_by],
        "images": 1,
        "megapixel_steps": round(work_of(parameters), 6),
        "estimated_time": estimated_time_s,
        "base_model_id": parameters.base_model_id,
        "parameters": _parameters(parameters),
        "loras": [
            {
                "model_id": use.model_id,
                "name": lora.name,
                "weight": use.weight,
                "rank": lora.rank,
                "trigger_words": list(lora.trigger_words),
            }
            for use, lora in zip(parameters.loras, loras, strict=True)
        ],
        "limits": shown_limits,
    }


def generation(run: generation_pb2.Generation, public_url: str, signer: UrlSigner, now_s: float) -> dict[str, Any]:
    """One run as it stands, with a fresh image URL."""
    parameters = run.parameters
    image_url, image_url_expires_at = _image_url(run, public_url, signer, now_s)
    return {
        "run_id": run.run_id,
        "status": STATUS_WORDS[run.status],
        "progress": run.progress,
        "image_url": image_url,
        "image_url_expires_at": image_url_expires_at,
        "seed": parameters.seed,
        "model_id": parameters.model_id,
        "base_model_id": parameters.base_model_id,
        "loras": _loras(run),
        "parameters": _parameters(parameters),
        "queue_position": run.queue_position if run.HasField("queue_position") else None,
        "waiting_for": run.waiting_for or None,
        "estimated_time": run.estimated_time_s,
        "created_at": moment(run.created_at),
        "started_at": moment(run.started_at) if run.HasField("started_at") else None,
        "finished_at": moment(run.finished_at) if run.HasField("finished_at") else None,
        "attempts": run.attempts,
        "error": {"code": run.error.code, "message": run.error.message} if run.HasField("error") else None,
        "image": _image(run.image) if run.HasField("image") else None,
        "source": None,
        "batch_id": None,
        "metadata": dict(run.metadata),
        "urls": urls(public_url, run.run_id),
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


def model(lora: model_pb2.Lora) -> dict[str, Any]:
    """One LoRA; the first four fields are the documented ones."""
    return {
        "id": lora.model_id,
        "name": lora.name,
        "description": lora.description,
        "created_at": moment(lora.created_at),
        "base_model_id": lora.base_model_id,
        "trigger_words": list(lora.trigger_words),
        "rank": lora.rank,
        "size_bytes": lora.file.size_bytes,
        "shared": not lora.organization_id,
    }


def limits(
    usage: auth_service_pb2.GetUsageResponse, *, unfinished_count: int, body_limit_bytes: int, max_wait_s: int
) -> dict[str, Any]:
    """Every limit that applies, and what is left of it."""
    bounds, rate = usage.organization.limits, usage.rate_limit
    taken = usage.images_used + usage.images_reserved
    return {
        "plan": _PLAN_WORDS.get(usage.organization.plan, "free"),
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
        "max_wait_s": max_wait_s,
    }


def image_name(run_id: str, output_format: generation_pb2.OutputFormat.ValueType) -> str:
    """The file name in an image's URL, such as `gen_….png`."""
    return f"{run_id}.{FORMAT_WORDS[output_format]}"


def _image_url(
    run: generation_pb2.Generation, public_url: str, signer: UrlSigner, now_s: float
) -> tuple[str | None, str | None]:
    if run.status != generation_pb2.STATUS_COMPLETED or not run.HasField("image"):
        return None, None
    signed = signer.sign(public_url, image_name(run.run_id, run.image.output_format), now_s)
    return signed.url, moment(Timestamp(seconds=signed.expires_at_s))


def _loras(run: generation_pb2.Generation) -> list[dict[str, Any]]:
    reports = {report.model_id: report for report in run.lora_reports}
    found = [(use, reports.get(use.model_id)) for use in run.parameters.loras]
    return [
        {
            "model_id": use.model_id,
            "weight": use.weight,
            "matched_keys": report.matched_keys if report else None,
            "ignored_keys": report.ignored_keys if report else None,
        }
        for use, report in found
    ]


def _parameters(parameters: generation_pb2.Parameters) -> dict[str, Any]:
    """A body for `POST /v1/generate` that gives the same picture again."""
    uses = list(parameters.loras)
    own = uses.pop(0).weight if uses and uses[0].model_id == parameters.model_id else None
    shown: dict[str, Any] = {
        "positive_prompt": parameters.positive_prompt,
        "negative_prompt": parameters.negative_prompt,
        "model_id": parameters.model_id,
    }
    if own is not None:
        shown["lora_weight"] = own
    return shown | {
        "loras": [{"model_id": use.model_id, "weight": use.weight} for use in uses],
        "guidance": parameters.guidance,
        "width": parameters.width,
        "height": parameters.height,
        "steps": parameters.steps,
        "seed": parameters.seed,
        "scheduler": parameters.scheduler,
        "output_format": FORMAT_WORDS[parameters.output_format],
    }


def _image(image: generation_pb2.Image) -> dict[str, Any]:
    return {
        "width": image.width,
        "height": image.height,
        "format": FORMAT_WORDS[image.output_format],
        "bytes": image.size_bytes,
        "sha256": image.sha256,
    }
