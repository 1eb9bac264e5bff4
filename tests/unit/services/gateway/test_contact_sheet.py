"""The contact sheet: where its cells stand, what is shown where there is no picture, and how much it may take."""

from __future__ import annotations

import asyncio
import io

import pytest
from imagineo.blobs.memory import MemoryBlobs
from PIL import Image

from services.gateway.contact_sheet import Cell, ContactSheets, layout_of, tag


def picture(colour, size=(64, 48), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def drawn(cells, blobs):
    async def draw():
        for key, content in blobs.items():
            await store.put(key, content, content_type="image/png")
        return await ContactSheets(store).draw(cells)

    store = MemoryBlobs()
    return Image.open(io.BytesIO(asyncio.run(draw()))).convert("RGB")


@pytest.mark.parametrize("count", [1, 2, 5, 16, 17, 100, 399, 1000])
def test_every_cell_has_a_place_of_its_own_within_the_sheet(count):
    layout = layout_of(count)
    width, height = layout.size_px
    corners = [layout.corner(place) for place in range(count)]
    assert len(set(corners)) == count
    assert all(left + layout.side_px <= width and top + layout.side_px <= height for left, top in corners)
    assert width * height * 3 < 48 * 2**20


def test_pictures_are_shown_in_their_places_and_the_rest_as_words():
    cells = [
        Cell(0, "completed", "images/red.png", 200),
        Cell(1, "failed"),
        Cell(2, "completed", "images/gone.png", 200),
        Cell(3, "completed", "images/blue.jpeg", 200),
        Cell(4, "completed", "images/broken.png", 200),
    ]
    blobs = {
        "images/red.png": picture("red"),
        "images/blue.jpeg": picture("blue", (1024, 1024), "JPEG"),
        "images/broken.png": picture("red")[:60],
    }
    sheet = drawn(cells, blobs)
    layout = layout_of(5)
    centres = []
    for place in range(5):
        left, top = layout.corner(place)
        centres.append(sheet.getpixel((left + layout.side_px // 2, top + layout.side_px // 2 - 30)))
    assert sheet.getpixel((layout.corner(0)[0] + 128, layout.corner(0)[1] + 128)) == (255, 0, 0)
    assert centres[1] == centres[2] == centres[4] == (226, 226, 230)
    assert centres[3][2] > 240
    assert centres[3][0] < 15


def test_the_tag_changes_with_what_is_shown():
    cells = [Cell(0, "running"), Cell(1, "completed", "k", 1, "ab")]
    assert tag(cells) == tag(list(cells))
    assert tag(cells) != tag([Cell(0, "completed"), cells[1]])
    assert tag(cells) != tag([cells[0], Cell(1, "completed", "k", 1, "cd")])


def test_a_thousand_pictures_make_one_sheet():
    cells = [Cell(index, "completed", "images/red.png", 200) for index in range(1000)]
    sheet = drawn(cells, {"images/red.png": picture("red", (96, 96))})
    assert sheet.size == layout_of(1000).size_px
