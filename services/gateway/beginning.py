"""Runs that begin from a picture: what of it decides the parameters, once the base model is known. Pure."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Final

from imagineo import errors
from imagineo.v1 import catalog_service_pb2, generation_pb2, model_pb2

from services.gateway.completion import FORMATS, complete
from services.gateway.submission import MIN_SIDE_PX, SIDE_STEP_PX, ExtraLora, Wanted

#: Neither side of an enlarged picture is longer.
MAX_UPSCALED_SIDE_PX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Beginning:
    """The picture that a run begins from, and what is made of it."""

    source: generation_pb2.Source
    own: generation_pb2.Parameters | None = None
    """The parameters of the run whose picture it is; None where it was uploaded."""

    def model_id(self, wanted: Wanted) -> str:
        """The model that a key must be allowed to draw with: whoever may draw a picture may have it enlarged."""
        is_upscale = self.source.kind == generation_pb2.SOURCE_KIND_UPSCALE
        return self.own.model_id if is_upscale and self.own is not None else wanted.model_id


def begun(
    wanted: Wanted,
    beginning: Beginning,
    resolved: catalog_service_pb2.ResolveResponse,
    *,
    chosen_seed: int,
) -> generation_pb2.Parameters:
    """All that decides the picture, defaults filled in.

    Raises:
        InvalidParameter: for what the base model does not have, or a result that would be too large.
    """
    if beginning.source.kind == generation_pb2.SOURCE_KIND_UPSCALE:
        return _enlarged(wanted, beginning, resolved)
    width_px, height_px = _size(beginning, resolved.base_model)
    sized = dataclasses.replace(
        wanted,
        width=width_px if wanted.width is None else wanted.width,
        height=height_px if wanted.height is None else wanted.height,
    )
    parameters = complete(sized, resolved, chosen_seed=chosen_seed)
    parameters.source.CopyFrom(beginning.source)
    return parameters


def wanted_like(own: generation_pb2.Parameters) -> Wanted:
    """What a client would ask for to have a run's picture drawn so again, but for its seed, size and file type."""
    uses = list(own.loras)
    first = uses.pop(0).weight if uses and uses[0].model_id == own.model_id else 1.0
    return Wanted(
        positive_prompt=own.positive_prompt,
        negative_prompt=own.negative_prompt,
        model_id=own.model_id,
        lora_weight=first,
        loras=tuple(ExtraLora(use.model_id, use.weight) for use in uses),
        guidance=own.guidance or None,  # an enlarged upload was not drawn: it has none of these
        steps=own.steps or None,
        scheduler=own.scheduler or None,
    )


def check_scale(image: generation_pb2.Image, scale: int) -> None:
    """Refuse a result that would be too large.

    Raises:
        InvalidParameter: naming what would do.
    """
    longest_px = max(image.width, image.height)
    if longest_px * scale > MAX_UPSCALED_SIDE_PX:
        fitting = "2" if longest_px * 2 <= MAX_UPSCALED_SIDE_PX else "asked for with a smaller picture"
        raise errors.InvalidParameter.of(
            "scale",
            f"{fitting}: the picture has {image.width} x {image.height} pixels, and neither side of the result may "
            f"have more than {MAX_UPSCALED_SIDE_PX}",
        )


def fitted(width_px: float, height_px: float, max_width_px: int, max_height_px: int) -> tuple[int, int]:
    """The sides that a base model takes which come nearest to a size: within its bounds, in about the same aspect."""
    scale = min(1.0, max_width_px / width_px, max_height_px / height_px)
    scale = max(scale, MIN_SIDE_PX / min(width_px, height_px))
    return _side(width_px * scale, max_width_px), _side(height_px * scale, max_height_px)


def _side(side_px: float, max_px: int) -> int:
    nearest_px = round(side_px / SIDE_STEP_PX) * SIDE_STEP_PX
    return max(MIN_SIDE_PX, min(nearest_px, max_px // SIDE_STEP_PX * SIDE_STEP_PX))


def _size(beginning: Beginning, base: model_pb2.BaseModel) -> tuple[int, int]:
    """A run's picture keeps its size; an upload is drawn in its own aspect at the base model's usual area."""
    image = beginning.source.image
    if beginning.own is not None:
        return fitted(image.width, image.height, base.max_width, base.max_height)
    scale = math.sqrt(base.default_width * base.default_height / (image.width * image.height))
    return fitted(image.width * scale, image.height * scale, base.max_width, base.max_height)


def _enlarged(
    wanted: Wanted, beginning: Beginning, resolved: catalog_service_pb2.ResolveResponse
) -> generation_pb2.Parameters:
    """The parameters of the picture's own run, if it has one, with the new size."""
    source = beginning.source
    check_scale(source.image, source.scale)
    parameters = generation_pb2.Parameters(model_id=wanted.model_id)
    if beginning.own is not None:
        parameters.CopyFrom(beginning.own)
    parameters.base_model_id = resolved.base_model.base_model_id
    parameters.width = source.image.width * source.scale
    parameters.height = source.image.height * source.scale
    parameters.output_format = FORMATS[wanted.output_format]
    parameters.source.CopyFrom(source)
    return parameters
