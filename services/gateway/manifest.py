"""How a picture came about, as REST shows it. Pure."""

from __future__ import annotations

from typing import Any

from imagineo.v1 import generation_pb2
from imagineo.wire.shown import FORMAT_WORDS, body_of, moment, source_of


def manifest(run: generation_pb2.Generation, provenance: generation_pb2.Provenance) -> dict[str, Any]:
    """The manifest of a completed run; what its worker did not say is null."""
    image, parameters = run.image, run.parameters
    return {
        "run_id": run.run_id,
        "created_at": moment(run.created_at),
        "finished_at": moment(run.finished_at),
        "parameters": body_of(parameters),
        "source": source_of(parameters.source) | {"sha256": parameters.source.image.sha256}
        if parameters.HasField("source")
        else None,
        "base_model": {
            "id": parameters.base_model_id,
            "slug": provenance.base_model_slug or None,
            "sha256": provenance.base_model_sha256 or None,
        },
        "loras": [
            {"model_id": lora.model_id, "sha256": lora.sha256, "weight": lora.weight} for lora in provenance.loras
        ],
        "device": provenance.device or None,
        "dtype": provenance.dtype or None,
        "versions": dict(provenance.versions),
        "image": {
            "sha256": image.sha256,
            "pixels_sha256": provenance.pixels_sha256 or None,
            "format": FORMAT_WORDS[image.output_format],
            "width": image.width,
            "height": image.height,
            "bytes": image.size_bytes,
        },
    }
