"""How a picture came about: for the run's row, and for the image file itself. Pure.

The file tells what had a part in the picture and nothing else. A LoRA of weight 0 is left out, and so are the ids that
this platform made for the run and its models, so that the same picture drawn twice is the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from imagineo.v1 import generation_pb2, job_pb2

from services.worker.engine.base import DrawResult


@dataclass(frozen=True, slots=True)
class Maker:
    """What drew: the same for all pictures of one worker and base model."""

    base_model_sha256: str
    """Over the base model's files."""
    device: str
    dtype: str
    versions: Mapping[str, str]


def provenance(job: job_pb2.Job, maker: Maker, drawn: DrawResult) -> generation_pb2.Provenance:
    """What the manifest of the run will say."""
    return generation_pb2.Provenance(
        base_model_slug=job.base_model_slug,
        base_model_sha256=maker.base_model_sha256,
        loras=[
            generation_pb2.LoraProvenance(model_id=one.model_id, sha256=one.file.sha256, weight=one.weight)
            for one in job.adapters
            if one.weight != 0
        ],
        device=maker.device,
        dtype=maker.dtype,
        versions=maker.versions,
        pixels_sha256=hashlib.sha256(drawn.rgb).hexdigest(),
    )


def note(job: job_pb2.Job) -> str:
    """What the image file tells of itself, as one JSON object."""
    parameters = job.parameters
    told: dict[str, object] = {
        "software": "Imagineo",
        "positive_prompt": parameters.positive_prompt,
        "negative_prompt": parameters.negative_prompt,
        "base_model": job.base_model_slug,
        "loras": [{"sha256": one.file.sha256, "weight": one.weight} for one in job.adapters if one.weight != 0],
        "guidance": parameters.guidance,
        "width": parameters.width,
        "height": parameters.height,
        "steps": parameters.steps,
        "seed": parameters.seed,
        "scheduler": parameters.scheduler,
    }
    if parameters.HasField("source"):
        told["source"] = _source(parameters.source)
    return json.dumps(told, ensure_ascii=False)


def _source(source: generation_pb2.Source) -> dict[str, object]:
    if source.kind == generation_pb2.SOURCE_KIND_UPSCALE:
        return {"kind": "upscale", "scale": source.scale, "sha256": source.image.sha256}
    return {"kind": "variation", "strength": source.strength, "sha256": source.image.sha256}
