"""What a file says of itself, before anything decodes it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.picture_file import Found, NotTaken, inspect
from tests.support.pictures import SIGNATURE, bomb, chunk, decoded, encoded, many_scans_jpeg, png_of_size, scene

GOOD = {
    "png": encoded(scene(), "PNG"),
    "jpeg": encoded(scene(), "JPEG"),
    "webp": encoded(scene(), "WEBP"),
}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ],
)
@pytest.mark.parametrize("size", [(16, 16), (96, 64), (33, 257)])
def test_a_file_says_its_type_and_size(kind, options, size):
    assert inspect(encoded(scene(*size), kind, **options)) == Found(kind.lower(), *size)


def test_an_animated_webp_says_its_size():
    frames = [scene(), scene().rotate(90), scene().rotate(180)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert inspect(content) == Found("webp", 96, 64)


@pytest.mark.parametrize("kind", GOOD)
def test_a_file_that_is_cut_off_is_refused(kind):
    for length in (13, 40, len(GOOD[kind]) // 2, len(GOOD[kind]) - 1):
        with pytest.raises(NotTaken, match=r"cut off|begin with|no PNG"):
            inspect(GOOD[kind][:length])


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("tail", [b"PK\x03\x04 a zip", b"<html><script>", b"%PDF-1.7", b"\x7fELF"])
def test_a_file_that_something_else_follows_is_refused(kind, tail):
    with pytest.raises(NotTaken, match="followed by something"):
        inspect(GOOD[kind] + tail)


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\n", GOOD["jpeg"], b"\0\0\0\x20ftypmp42", b"\0\0\1\nImageSEFT"])
def test_what_cameras_put_behind_a_jpeg_is_passed_over(tail):
    assert inspect(GOOD["jpeg"] + tail) == Found("jpeg", 96, 64)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a" + b"\0" * 100,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"BM" + b"\0" * 100,
        b"%!PS-Adobe" + b"\0" * 100,
        b" " + GOOD["png"],
        b"PK\x03\x04" + GOOD["jpeg"],
        b"RIFF\0\0\0\0AVI " + b"\0" * 100,
        encoded(scene(), "TIFF"),
        encoded(scene(), "GIF"),
    ],
)
def test_what_is_none_of_the_three_types_is_refused(content):
    with pytest.raises(NotTaken, match="no PNG, JPEG or WebP"):
        inspect(content)


def test_a_size_out_of_bounds_is_refused_by_the_header_alone():
    for width, height, reason in [
        (65_000, 65_000, "at most 50000000 pixels"),
        (7_141, 7_142, "at most 50000000 pixels"),
        (1, 1, "between 16 and 16384"),
        (0, 0, "between 16 and 16384"),
        (16, 20_000, "between 16 and 16384"),
        (16, 16_000, "at most 16 times"),
    ]:
        with pytest.raises(NotTaken, match=reason):
            inspect(png_of_size(width, height))
    assert inspect(bomb(7_071, 7_071)).width_px == 7_071


def test_a_webp_that_says_it_is_huge_is_refused():
    content = bytearray(encoded(scene(), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"))
    assert content[12:16] == b"VP8X"
    content[24:30] = b"\xff\x3f\0\xff\x3f\0"
    with pytest.raises(NotTaken, match="at most 50000000 pixels"):
        inspect(bytes(content))


def test_many_scans_and_many_chunks_are_refused():
    with pytest.raises(NotTaken, match="more than 100 scans"):
        inspect(many_scans_jpeg(120))
    content = SIGNATURE + GOOD["png"][8:33] + chunk(b"tEXt", b"") * 50_001 + GOOD["png"][33:]
    with pytest.raises(NotTaken, match="more than 50000 chunks"):
        inspect(content)


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 10_000), st.binary(min_size=1, max_size=40))
def test_damage_anywhere_is_told_or_passed_over(kind, at, damage):
    content = bytearray(GOOD[kind])
    at %= len(content)
    content[at : at + len(damage)] = damage
    with contextlib.suppress(NotTaken):
        assert 16 <= inspect(bytes(content)).width_px <= 16_384


def test_a_phones_jpeg_of_several_pictures_is_one_jpeg():
    content = encoded(scene(), "MPO", save_all=True, append_images=[scene().resize((24, 16))])
    assert decoded(content).format == "MPO"
    assert inspect(content) == Found("jpeg", 96, 64)
