"""Uploads over scripted peers: what is taken, what is refused, and that nothing is left of what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from pathlib import Path

import psutil
import pytest
from imagineo.ids import new_id
from openapi_schema_validator import OAS31Validator

from services.gateway import picture_decoding
from tests.support.gateway_peers import ORGANIZATION, platform
from tests.support.pictures import (
    bomb,
    data_url,
    decoded,
    encoded,
    many_scans_jpeg,
    png_of_size,
    scene,
    sideways_jpeg,
    text_bomb,
)


@pytest.fixture
async def gateway():
    async with platform() as found:
        yield found


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Temporary files go where a test can see them; none is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


async def send(gateway, content, name="mug.png", **options):
    return await gateway.client.post("/v1/uploads", files={"file": (name, content)}, **options)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_is_kept_upright_and_bare(gateway, kind):
    content = encoded(scene(), kind)
    answer = await send(gateway, content)
    shown = answer.json()
    assert answer.status_code == 200, answer.text
    document = (await gateway.client.get("/openapi.json")).json()
    OAS31Validator({"$ref": "#/components/schemas/Upload", "components": document["components"]}).validate(shown)
    assert (shown["width"], shown["height"], shown["format"], shown["bytes"]) == (96, 64, kind.lower(), len(content))
    assert shown["sha256"] == hashlib.sha256(content).hexdigest()
    kept = await gateway.blobs.get(f"uploads/{ORGANIZATION}/{shown['upload_id']}.png")
    assert (decoded(kept).size, decoded(kept).format) == ((96, 64), "PNG")
    noted = gateway.uploads.uploads[shown["upload_id"]]
    assert (noted.image.sha256, noted.image.size_bytes) == (hashlib.sha256(kept).hexdigest(), len(kept))
    assert noted.key_id == "key_1"
    read = await gateway.client.get(f"/v1/uploads/{shown['upload_id']}")
    assert read.json() == shown


async def test_a_data_url_is_as_good_as_a_file(gateway):
    content = sideways_jpeg(scene())
    # The type is told by the content: the URL's own is not believed.
    answer = await gateway.client.post("/v1/uploads", json={"file": data_url(content, "image/png")})
    shown = answer.json()
    assert (shown["width"], shown["height"], shown["format"]) == (96, 64, "jpeg")
    kept = await gateway.blobs.get(f"uploads/{ORGANIZATION}/{shown['upload_id']}.png")
    assert b"SECRET" not in kept
    assert decoded(kept).getexif() == {}


async def test_a_file_is_told_by_its_content_not_by_its_name(gateway):
    answer = await send(gateway, encoded(scene(), "JPEG"), name="mug.png")
    assert answer.json()["format"] == "jpeg"


def is_refused(answer, status, code, reason, param="file"):
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("param")) == (status, code, param), answer.text
    assert reason in error["message"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no PNG, JPEG or WebP"),
        (b"hello", "no PNG, JPEG or WebP"),
        (encoded(scene(), "GIF"), "no PNG, JPEG or WebP"),
        (b"%PDF-1.7\n" + encoded(scene()), "no PNG, JPEG or WebP"),
        (encoded(scene()) + b"PK\x03\x04" + bytes(100), "followed by something"),
        (encoded(scene(), "JPEG") + b"<script>alert(1)</script>", "followed by something"),
        (encoded(scene())[:-30], "cut off"),
        (encoded(scene(), "WEBP")[:-30], "cut off"),
        (png_of_size(1, 1, b"\0\0"), "between 16 and 16384"),
        (bomb(7_150, 7_150), "at most 50000000 pixels"),
        (bomb(16_000, 16_000), "at most 50000000 pixels"),
        (png_of_size(2**31 - 1, 2**31 - 1), "at most 50000000 pixels"),
        (text_bomb(), "damaged"),
        (many_scans_jpeg(150), "more than 100 scans"),
    ],
    ids=[
        *("nothing", "text", "gif", "polyglot before", "polyglot behind", "script behind", "cut png", "cut webp"),
        *("1x1", "51 megapixels", "bomb", "largest", "text bomb", "scans"),
    ],
)
async def test_what_is_no_good_picture_is_refused_and_leaves_nothing(gateway, content, reason):
    is_refused(await send(gateway, content), 400, "invalid_file", reason)
    is_refused(await gateway.client.post("/v1/uploads", json={"file": data_url(content)}), 400, "invalid_file", reason)
    assert gateway.uploads.uploads == {}
    assert await gateway.blobs.list("uploads") == []


@pytest.mark.parametrize(
    ("body", "status", "code", "reason"),
    [
        ({"file": "data:text/plain;base64,aGVsbG8="}, 400, "invalid_file", "none of a PNG"),
        ({"file": "data:image/svg+xml;base64,aGVsbG8="}, 400, "invalid_file", "none of a PNG"),
        ({"file": "data:image/png,hello"}, 400, "invalid_file", "none of a PNG"),
        ({"file": "data:image/png;base64,not base64!"}, 400, "invalid_file", "not base64"),
        ({"file": "data:image/png;base64,aGVsbG8"}, 400, "invalid_file", "not base64"),
        ({"file": "https://example.org/a.png"}, 400, "invalid_parameter", "a data URL"),
        ({"file": 7}, 400, "invalid_parameter", "a data URL"),
        ({}, 400, "invalid_parameter", "Missing parameter"),
    ],
)
async def test_what_is_no_data_url_of_a_picture_is_refused(gateway, body, status, code, reason):
    is_refused(await gateway.client.post("/v1/uploads", json=body), status, code, reason)


async def test_a_file_over_the_limit_is_refused_however_it_comes(gateway):
    large = encoded(scene()) + bytes(20_000_000)
    is_refused(await send(gateway, large), 413, "body_too_large", "20000000 bytes")
    is_refused(
        await gateway.client.post("/v1/uploads", json={"file": data_url(large[:20_000_001])}),
        413,
        "body_too_large",
        "20000000 bytes",
    )
    answer = await send(gateway, bytes(30_000_000))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert gateway.uploads.uploads == {}


async def test_a_body_that_is_neither_form_nor_json_is_refused(gateway):
    for content_type in ("image/png", "", "text/plain"):
        answer = await gateway.client.post(
            "/v1/uploads", content=encoded(scene()), headers={"Content-Type": content_type}
        )
        is_refused(answer, 415, "unsupported_media_type", "multipart/form-data or application/json", param=None)


@pytest.mark.parametrize(
    ("files", "data", "code", "param"),
    [
        ({"picture": encoded(scene())}, {}, "unknown_field", "picture"),
        ({}, {"file": "hello"}, "invalid_parameter", "file"),
        ({"file": encoded(scene())}, {"note": "x"}, "unknown_field", "note"),
    ],
)
async def test_a_form_of_other_fields_is_refused(gateway, files, data, code, param):
    body = {name: (None, value) for name, value in data.items()} | files
    answer = await gateway.client.post("/v1/uploads", files=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"nonsense"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A: b\r\n" * 100_000),
        ("multipart/form-data; boundary=" + "b" * 5_000, b"x"),
    ],
)
async def test_a_broken_form_is_refused(gateway, content_type, content):
    answer = await gateway.client.post("/v1/uploads", content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter"), answer.text


async def test_two_files_are_refused(gateway):
    files = [("file", ("a.png", encoded(scene()))), ("file", ("b.png", encoded(scene())))]
    answer = await gateway.client.post("/v1/uploads", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")


async def test_a_store_that_is_away_answers_503(gateway):
    gateway.blobs.away = True
    answer = await send(gateway, encoded(scene()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


async def test_an_upload_is_deleted_and_strangers_have_none(gateway):
    upload_id = (await send(gateway, encoded(scene()))).json()["upload_id"]
    for wrong in (new_id("up"), "up_1", "x"):
        for method in ("GET", "DELETE"):
            answer = await gateway.client.request(method, f"/v1/uploads/{wrong}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert (await gateway.client.delete(f"/v1/uploads/{upload_id}")).status_code == 204
    assert (await gateway.client.get(f"/v1/uploads/{upload_id}")).status_code == 404


async def test_the_loop_goes_on_while_large_pictures_are_decoded(gateway):
    """WebP is decoded without letting other threads run: it is done by another process, beside which the loop turns."""
    content = encoded(scene(4_000, 3_000), "WEBP", method=0)
    sending = asyncio.create_task(send(gateway, content))
    decoders: set[int] = set()
    while not sending.done():
        decoders.update(child.pid for child in psutil.Process().children() if _decodes(child))
        await asyncio.sleep(0.005)
    assert (await sending).status_code == 200
    assert len(decoders) == 1, "the loop stood still while the picture was decoded"
    assert Path(tempfile.gettempdir()).exists()


def _decodes(child: psutil.Process) -> bool:
    try:
        return picture_decoding.__name__ in child.cmdline()
    except psutil.Error:  # it is over
        return False
