"""A run as REST, events and webhooks show it: one shape wherever it is shown. Pure; time comes as an argument."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from imagineo.v1 import generation_pb2
from imagineo.wire.image_urls import UrlSigner

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

LIKENESS_WORDS: Final[dict[generation_pb2.Likeness.ValueType, str]] = {
    generation_pb2.LIKENESS_MATCH: "match",
    generation_pb2.LIKENESS_NEAR: "near",
    generation_pb2.LIKENESS_DIFFERS: "differs",
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


def generation(run: generation_pb2.Generation, public_url: str, signer: UrlSigner, now_s: float) -> dict[str, Any]:
    """One run as it stands, with a fresh image URL."""
    parameters = run.parameters
    image_url, image_url_expires_at = _image_url(run, public_url, signer, now_s)
    return {
        "run_id": run.run_id,
        "status": STATUS_WORDS[run.status],
        "progress": run.progress,
        "step": run.step,
        "image_url": image_url,
        "image_url_expires_at": image_url_expires_at,
        "seed": parameters.seed,
        "model_id": parameters.model_id,
        "base_model_id": parameters.base_model_id,
        "loras": _loras(run),
        "parameters": body_of(parameters),
        "queue_position": run.queue_position if run.HasField("queue_position") else None,
        "waiting_for": run.waiting_for or None,
        "estimated_time": run.estimated_time_s,
        "created_at": moment(run.created_at),
        "started_at": moment(run.started_at) if run.HasField("started_at") else None,
        "finished_at": moment(run.finished_at) if run.HasField("finished_at") else None,
        "attempts": run.attempts,
        "error": {"code": run.error.code, "message": run.error.message} if run.HasField("error") else None,
        "image": _image(run.image) if run.HasField("image") else None,
        "source": source_of(parameters.source) if parameters.HasField("source") else None,
        "replay": _replay(run.replay) if run.HasField("replay") else None,
        "batch_id": run.batch_id or None,
        "metadata": dict(run.metadata),
        "urls": urls(public_url, run.run_id),
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


def body_of(parameters: generation_pb2.Parameters) -> dict[str, Any]:
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


def source_of(source: generation_pb2.Source) -> dict[str, Any]:
    """The picture that a run began from, and what was made of it."""
    is_upscale = source.kind == generation_pb2.SOURCE_KIND_UPSCALE
    return {
        "kind": "upscale" if is_upscale else "variation",
        "run_id": source.run_id or None,
        "upload_id": source.upload_id or None,
        "strength": None if is_upscale else source.strength,
        "scale": source.scale if is_upscale else None,
    }


def _replay(replay: generation_pb2.Replay) -> dict[str, Any]:
    return {
        "run_id": replay.run_id,
        "result": LIKENESS_WORDS.get(replay.likeness),
        "psnr_db": round(replay.psnr_db, 2) if replay.HasField("psnr_db") else None,
    }


def _image(image: generation_pb2.Image) -> dict[str, Any]:
    return {
        "width": image.width,
        "height": image.height,
        "format": FORMAT_WORDS[image.output_format],
        "bytes": image.size_bytes,
        "sha256": image.sha256,
    }
