"""A client's picture through the process that decodes it: what is kept, and what is refused with which reason."""

from __future__ import annotations

import asyncio
import io
import os

import pytest
from imagineo import errors
from PIL import Image, ImageChops, ImageCms, ImageStat

from services.gateway import picture_decoding
from services.gateway.pictures import Pictures
from tests.support.deadlines import SURELY_S
from tests.support.pictures import (
    bomb,
    decoded,
    encoded,
    many_scans_jpeg,
    png_of_size,
    scene,
    sideways_jpeg,
    text_bomb,
)


def kept(content, tmp_path):
    target = tmp_path / "kept.png"
    said = picture_decoding.keep(content, target)
    image = decoded(target.read_bytes())
    assert (image.mode, image.format, image.size) == ("RGB", "PNG", (said["width_px"], said["height_px"]))
    return image


def is_near(one, other, within=6):
    """Whether two pictures differ by little on the whole; turned or mirrored ones differ by far more."""
    difference = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB")))
    return max(difference.mean) <= within


def test_what_is_near_can_tell_a_turned_picture():
    assert not is_near(scene(), scene().rotate(180))
    assert not is_near(scene(), scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert not is_near(scene(), scene().transpose(Image.Transpose.FLIP_TOP_BOTTOM))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "MPO"])
def test_a_picture_of_each_type_is_kept(tmp_path, kind):
    assert is_near(kept(encoded(scene(), kind), tmp_path), scene())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_each_mode_is_kept(tmp_path, mode):
    plain = scene().convert("L") if mode in ("1", "L", "LA", "I;16") else scene()
    if mode == "1":
        plain = plain.point(lambda value: 255 * (value > 90))
    if mode == "I;16":
        image = plain.convert("I").point(lambda value: value * 257).convert("I;16")
    else:
        image = plain.quantize(16) if mode == "P" else plain.convert(mode)
    assert is_near(kept(encoded(image), tmp_path), plain)


def test_what_shines_through_becomes_white(tmp_path):
    clear = scene().convert("RGBA")
    clear.putalpha(0)
    assert kept(encoded(clear), tmp_path).getextrema() == ((255, 255),) * 3


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path):
    assert is_near(kept(encoded(scene().convert("CMYK"), "JPEG", quality=95), tmp_path), scene())


def test_a_turned_picture_comes_out_upright_and_nothing_but_pixels_is_kept(tmp_path):
    content = sideways_jpeg(scene())
    assert decoded(content).size == (64, 96)
    image = kept(content, tmp_path)
    assert is_near(image, scene())
    assert not image.info
    assert not image.getexif()
    assert b"SECRET" not in (tmp_path / "kept.png").read_bytes()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_note_of_how_the_camera_was_held_spoils_no_picture(tmp_path):
    content = encoded(scene(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert is_near(kept(content, tmp_path), scene())


def test_colours_of_another_profile_are_brought_to_srgb(tmp_path):
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    linear = encoded(scene(), "PNG", icc_profile=wide)
    assert is_near(kept(linear, tmp_path), scene())  # a profile that does not fit its mode is passed over
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = kept(encoded(scene(), "PNG", icc_profile=srgb), tmp_path)
    assert is_near(image, scene())
    assert "icc_profile" not in image.info


def test_the_first_picture_of_an_animation_is_kept(tmp_path):
    frames = [scene(), scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    for kind in ("WEBP", "PNG"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert is_near(kept(content, tmp_path), scene())


def test_a_very_large_picture_is_kept_smaller(tmp_path):
    assert kept(bomb(5_000, 2_500), tmp_path).size == (4_096, 2_048)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bomb(7_150, 7_150), "at most 50000000 pixels"),
        (bomb(16_000, 16_000), "at most 50000000 pixels"),
        (text_bomb(), "png cannot be decoded"),
        (png_of_size(64, 64, b"\0" * 3), "png cannot be decoded"),
        (many_scans_jpeg(120), "more than 100 scans"),
        (encoded(scene(), "GIF"), "no PNG, JPEG or WebP"),
        (b"PK\x03\x04" + bytes(10_000), "no PNG, JPEG or WebP"),
    ],
    ids=["51 megapixels", "bomb", "text bomb", "too few rows", "scans", "gif", "zip"],
)
async def test_a_hostile_file_is_refused_by_the_process(tmp_path, content, reason):
    source = tmp_path / "sent"
    source.write_bytes(content)
    with pytest.raises(errors.InvalidFile, match=reason) as refused:
        await Pictures(1).keep(source, tmp_path / "kept.png")
    assert refused.value.metadata == {"param": "file"}


async def test_the_process_keeps_a_picture_and_says_its_digest(tmp_path):
    source, target = tmp_path / "sent", tmp_path / "kept.png"
    source.write_bytes(sideways_jpeg(scene()))
    found = await Pictures(1).keep(source, target)
    assert (found.format, found.width_px, found.height_px) == ("jpeg", 96, 64)
    assert found.size_bytes == len(target.read_bytes())
    assert is_near(Image.open(io.BytesIO(target.read_bytes())), scene())


async def test_a_picture_that_is_given_up_leaves_no_process(tmp_path, monkeypatch):
    """A decoder that stands still is ended with the one who waits for it."""
    source = tmp_path / "sent"
    os.mkfifo(source)  # nobody writes: the process waits for ever
    keeping = asyncio.create_task(Pictures(1).keep(source, tmp_path / "kept.png"))
    started = asyncio.Event()
    real = asyncio.create_subprocess_exec
    seen = []

    async def noted(*arguments, **options):
        process = await real(*arguments, **options)
        seen.append(process)
        started.set()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    await asyncio.wait_for(started.wait(), SURELY_S)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert seen[0].returncode is not None
