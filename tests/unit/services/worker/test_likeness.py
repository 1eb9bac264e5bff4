"""What is said of a picture drawn again."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from imagineo.v1 import generation_pb2
from PIL import Image

from services.worker.engine.base import DrawResult
from services.worker.likeness import compare

FIRST = np.random.default_rng(3).integers(40, 200, (16, 24, 3), np.uint8)


def drawn(pixels: np.ndarray) -> DrawResult:
    return DrawResult(width_px=pixels.shape[1], height_px=pixels.shape[0], rgb=pixels.tobytes())


def file(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def replay(*, with_digest: bool = True) -> generation_pb2.Replay:
    digest = hashlib.sha256(FIRST.tobytes()).hexdigest() if with_digest else ""
    return generation_pb2.Replay(run_id="gen_1", pixels_sha256=digest)


def test_the_same_pixels_match_even_where_the_first_file_is_gone():
    found = compare(replay(), None, drawn(FIRST))
    assert found.likeness == generation_pb2.LIKENESS_MATCH
    assert found.run_id == "gen_1"
    assert not found.HasField("psnr_db")


def test_the_same_pixels_match_by_the_file_where_the_digest_is_not_known():
    found = compare(replay(with_digest=False), file(FIRST), drawn(FIRST))
    assert found.likeness == generation_pb2.LIKENESS_MATCH


@pytest.mark.parametrize(
    ("off_by", "likeness", "psnr_db"),
    [(1, generation_pb2.LIKENESS_NEAR, 48.13), (3, generation_pb2.LIKENESS_DIFFERS, 38.59)],
)
def test_a_little_off_is_near_and_more_differs(off_by, likeness, psnr_db):
    found = compare(replay(), file(FIRST), drawn(FIRST + np.uint8(off_by)))
    assert found.likeness == likeness
    assert found.psnr_db == pytest.approx(psnr_db, abs=0.01)


def test_another_size_differs():
    found = compare(replay(), file(FIRST), drawn(FIRST[:8]))
    assert found.likeness == generation_pb2.LIKENESS_DIFFERS
    assert not found.HasField("psnr_db")


def test_nothing_is_said_where_the_first_file_is_gone_and_the_pixels_are_others():
    found = compare(replay(), None, drawn(FIRST + np.uint8(1)))
    assert found.likeness == generation_pb2.LIKENESS_UNSPECIFIED
