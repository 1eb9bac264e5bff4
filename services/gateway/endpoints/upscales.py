"""Upscales: the same picture, twice or four times as large, of a run or of the client's own."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.endpoints import beginnings
from services.gateway.parts import Parts
from services.gateway.sourced import UPSCALE_OF_RUN, UPSCALES


async def of_run(parts: Parts, request: Request) -> Response:
    """Enlarge a run's picture."""
    return await beginnings.submit(parts, request, UPSCALE_OF_RUN)


async def of_picture(parts: Parts, request: Request) -> Response:
    """Enlarge an upload, or a picture that comes with the request."""
    return await beginnings.submit(parts, request, UPSCALES)


OF_RUN: Final = beginnings.described(
    "upscaleGeneration",
    "Enlarge a completed generation's picture, as a new generation; neither side may come out over 4096 pixels.",
    "UpscaleOfRun",
    {"scale": 2},
    several=False,
)
OF_PICTURE: Final = beginnings.described(
    "createUpscale",
    "Enlarge a picture of yours: an upload, a data URL, or a generation named in `source`.",
    "Upscale",
    {"upload_id": "$UPLOAD_ID", "scale": 2},
    several=False,
)
