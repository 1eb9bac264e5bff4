"""How near a picture drawn again is to the first. Pure."""

from __future__ import annotations

import hashlib
import io
import math
from typing import Final

import numpy as np
from imagineo.v1 import generation_pb2
from PIL import Image

from services.worker.engine.base import DrawResult

#: From here on nobody sees the difference.
NEAR_DB: Final = 40.0


def compare(replay: generation_pb2.Replay, first: bytes | None, drawn: DrawResult) -> generation_pb2.Replay:
    """Say how near `drawn` is to the earlier picture; `first` is its file, None where it is gone."""
    found = generation_pb2.Replay()
    found.CopyFrom(replay)
    if replay.pixels_sha256 and hashlib.sha256(drawn.rgb).hexdigest() == replay.pixels_sha256:
        found.likeness = generation_pb2.LIKENESS_MATCH
    elif first is not None:
        psnr_db = _psnr_db(first, drawn)
        if psnr_db is None:
            found.likeness = generation_pb2.LIKENESS_DIFFERS
        elif math.isinf(psnr_db):
            found.likeness = generation_pb2.LIKENESS_MATCH
        else:
            found.likeness = generation_pb2.LIKENESS_NEAR if psnr_db >= NEAR_DB else generation_pb2.LIKENESS_DIFFERS
            found.psnr_db = psnr_db
    return found


def _psnr_db(first: bytes, drawn: DrawResult) -> float | None:
    """Peak signal-to-noise ratio in dB, infinite where all is the same; None where the sizes differ."""
    with Image.open(io.BytesIO(first)) as image:
        earlier = np.asarray(image.convert("RGB"), np.float64)
    again = np.frombuffer(drawn.rgb, np.uint8).reshape(drawn.height_px, drawn.width_px, 3)
    if earlier.shape != again.shape:
        return None
    error = float(np.mean((earlier - again) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf
