"""The shapes of uploads, variations and upscales, as data. Tests hold them against `sourced` and `uploads`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.gateway.beginning import MAX_UPSCALED_SIDE_PX
from services.gateway.shapes import TEXT, TIME, WHOLE, Json, closed, nullable, ref
from services.gateway.sourced import (
    DEFAULT_STRENGTH,
    MAX_COUNT,
    SCALES,
    UPSCALE_OF_RUN,
    UPSCALES,
    VARIATIONS,
    VARIATIONS_OF_RUN,
)

_ID: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 64}
_DATA_URL: Final[Json] = {
    "type": "string",
    "pattern": "^data:",
    "description": "A PNG, JPEG or WebP as `data:image/png;base64,…`, within the bounds of an upload.",
}

_FIELDS: Final[Json] = {
    "upload_id": {**_ID, "description": "Exactly one of upload_id, image and source is given."},
    "image": _DATA_URL,
    "source": {
        "oneOf": [closed({"run_id": _ID}), closed({"upload_id": _ID})],
        "description": "The same, or a completed generation, whose parameters are then the defaults.",
    },
    "count": {
        **WHOLE,
        "minimum": 1,
        "maximum": MAX_COUNT,
        "default": 1,
        "description": "How many; image k has seed + k, so that each can be drawn alone. Each counts one image.",
    },
    "strength": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": DEFAULT_STRENGTH,
        "description": "How much is drawn anew; 0 leaves the picture as it is but for its size.",
    },
    "scale": {
        "enum": list(SCALES),
        "description": f"Neither side of the result may have more than {MAX_UPSCALED_SIDE_PX} pixels.",
    },
}

#: The picture that a run began from.
SOURCE: Final[Json] = {
    "kind": {"enum": ["upscale", "variation"]},
    "run_id": nullable(TEXT),
    "upload_id": nullable(TEXT),
    "strength": {**nullable({"type": "number"}), "description": "Of a variation."},
    "scale": {**nullable({"enum": list(SCALES)}), "description": "Of an upscale."},
}


#: What a variation takes over from the run that its picture is of.
_OF_RUN: Final = (
    *("positive_prompt", "negative_prompt", "model_id", "lora_weight", "loras"),
    *("guidance", "width", "height", "steps", "scheduler", "output_format"),
)


def _usual(field: Json, usual: str) -> Json:
    """A field of a submit with another default."""
    said = str(field.get("description", "")).partition("efault: ")[0].rstrip(" Dd;")
    kept = {name: value for name, value in field.items() if name != "default"}
    return {**kept, "description": f"{said}{'' if not said or said.endswith('.') else '.'} Default: {usual}.".strip()}


def source_schemas(submission: Mapping[str, Json]) -> dict[str, Json]:
    """The shapes by name; `submission` are the fields of `POST /v1/generate`."""

    def body(names: tuple[str, ...], required: tuple[str, ...] = (), *, usual: str = "") -> Json:
        fields = {**submission, **{name: _usual(submission[name], usual) for name in _OF_RUN if usual}, **_FIELDS}
        return closed(
            {name: fields[name] for name in names}, optional=tuple(one for one in names if one not in required)
        )

    return {
        "VariationsOfRun": body(VARIATIONS_OF_RUN, usual="the run's own"),
        "Variations": body(VARIATIONS, usual="the source run's own, if there is one, else a submit's"),
        "UpscaleOfRun": body(UPSCALE_OF_RUN, ("scale",)),
        "Upscale": body(UPSCALES, ("scale",)),
        "SubmittedSeveral": closed({"generations": {"type": "array", "items": ref("Submitted")}}),
        "GenerationsDrawn": closed({"generations": {"type": "array", "items": ref("Generation")}}),
        "Source": closed(SOURCE),
        "UploadForm": closed({"file": {"type": "string", "contentMediaType": "image/*"}}),
        "UploadBody": closed({"file": _DATA_URL}),
        "Upload": closed(
            {
                "upload_id": TEXT,
                "width": {**WHOLE, "description": "Pixels, as it is kept: upright."},
                "height": WHOLE,
                "format": {"enum": ["png", "jpeg", "webp"], "description": "Of the file that was sent."},
                "bytes": {**WHOLE, "description": "Of the file that was sent."},
                "sha256": {**TEXT, "description": "Of the file that was sent."},
                "created_at": TIME,
                "expires_at": TIME,
            }
        ),
    }
