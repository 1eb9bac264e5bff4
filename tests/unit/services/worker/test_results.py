"""What an image file tells of itself."""

from __future__ import annotations

import io
import json

import pytest
from imagineo.v1 import generation_pb2, job_pb2, model_pb2
from PIL import ExifTags, Image

from services.worker.engine.base import DrawResult
from services.worker.provenance import note
from services.worker.results import encode

DRAWN = DrawResult(width_px=8, height_px=8, rgb=bytes(range(192)))


def job(run_id: str = "gen_1", *, more: float = 0.0) -> job_pb2.Job:
    file = model_pb2.StoredFile(sha256="ab" * 32)
    return job_pb2.Job(
        run_id=run_id,
        base_model_slug="starter",
        parameters=generation_pb2.Parameters(
            positive_prompt='ein "Bär" 🐻\n<b>', width=8, height=8, steps=4, seed=7, guidance=5, scheduler="ddim"
        ),
        adapters=[
            job_pb2.Adapter(model_id="model_1", weight=0.8, file=file),
            job_pb2.Adapter(model_id="model_2", weight=more, file=file),
        ],
    )


def told(content: bytes) -> dict:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if image.format == "PNG":
            return json.loads(image.text["parameters"])
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
        assert comment.startswith(b"UNICODE\0")
        return json.loads(comment[8:].decode("utf-16-be"))


@pytest.mark.parametrize("output_format", generation_pb2.OutputFormat.values()[1:])
def test_a_file_tells_what_it_was_drawn_with(output_format):
    found = told(encode(DRAWN, output_format, note(job())).content)
    assert found["positive_prompt"] == 'ein "Bär" 🐻\n<b>'
    assert (found["seed"], found["steps"], found["scheduler"], found["base_model"]) == (7, 4, "ddim", "starter")
    assert found["loras"] == [{"sha256": "ab" * 32, "weight": 0.8}]


@pytest.mark.parametrize("output_format", generation_pb2.OutputFormat.values()[1:])
def test_a_file_tells_nothing_where_it_should_not(output_format):
    with Image.open(io.BytesIO(encode(DRAWN, output_format).content)) as image:
        assert not getattr(image, "text", {})
        assert not dict(image.getexif())


def test_the_same_picture_drawn_by_two_runs_is_the_same_file():
    files = {encode(DRAWN, generation_pb2.OUTPUT_FORMAT_PNG, note(job(run_id))).sha256 for run_id in ("gen_1", "gen_2")}
    other = encode(DRAWN, generation_pb2.OUTPUT_FORMAT_PNG, note(job(more=0.1))).sha256
    assert len(files) == 1
    assert other not in files
