"""Variations: pictures like a given one, by image-to-image, of a run's picture or of the client's own."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.endpoints import beginnings
from services.gateway.parts import Parts
from services.gateway.sourced import VARIATIONS, VARIATIONS_OF_RUN


async def of_run(parts: Parts, request: Request) -> Response:
    """Draw like a run's picture."""
    return await beginnings.submit(parts, request, VARIATIONS_OF_RUN)


async def of_picture(parts: Parts, request: Request) -> Response:
    """Draw like an upload, or a picture that comes with the request."""
    return await beginnings.submit(parts, request, VARIATIONS)


OF_RUN: Final = beginnings.described(
    "createVariationsOfGeneration",
    "Draw pictures like a completed generation's, with its parameters where the body names no others.",
    "VariationsOfRun",
    {"count": 2, "strength": 0.4},
    several=True,
)
OF_PICTURE: Final = beginnings.described(
    "createVariations",
    "Draw pictures like one of yours: an upload, a data URL, or a generation named in `source`.",
    "Variations",
    {
        "upload_id": "$UPLOAD_ID",
        "model_id": "$MODEL_ID",
        "positive_prompt": "A blue teapot on a wooden table",
        "strength": 0.5,
    },
    several=True,
)
