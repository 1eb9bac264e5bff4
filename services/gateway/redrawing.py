"""Drawing a run again, to the last parameter, and saying how near the picture comes to the first. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from imagineo import errors
from imagineo.v1 import catalog_service_pb2, generation_pb2
from imagineo.wire.shown import FORMAT_WORDS

from services.gateway.beginning import wanted_like
from services.gateway.submission import Wanted


@dataclass(frozen=True, slots=True)
class Redrawing:
    """The run to draw again."""

    parameters: generation_pb2.Parameters
    replay: generation_pb2.Replay


def redrawing_of(run: generation_pb2.Generation, provenance: generation_pb2.Provenance) -> Redrawing:
    """What is needed of a completed run to draw it again and to compare."""
    replay = generation_pb2.Replay(run_id=run.run_id, image=run.image, pixels_sha256=provenance.pixels_sha256)
    return Redrawing(run.parameters, replay)


def wanted_again(parameters: generation_pb2.Parameters, given: dict[str, Any]) -> Wanted:
    """The models to resolve, and what the client says of the new run; the picture is decided by the first run's."""
    is_enlarged = parameters.source.kind == generation_pb2.SOURCE_KIND_UPSCALE
    plain = Wanted(positive_prompt="", model_id=parameters.base_model_id) if is_enlarged else wanted_like(parameters)
    return dataclasses.replace(plain, output_format=FORMAT_WORDS[parameters.output_format], **given)


def redrawn(redrawing: Redrawing, resolved: catalog_service_pb2.ResolveResponse) -> generation_pb2.Parameters:
    """The parameters of the new run: the first one's.

    Raises:
        FailedPrecondition: if its model stands on another base now.
    """
    parameters = redrawing.parameters
    if resolved.base_model.base_model_id != parameters.base_model_id:
        raise errors.FailedPrecondition("The generation's model is not what it was: it cannot be drawn again.")
    again = generation_pb2.Parameters()
    again.CopyFrom(parameters)
    return again
