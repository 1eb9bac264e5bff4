"""The contact sheet of a batch: small pictures of all its items in one PNG, each with its index below.

Pictures are read and decoded one after the other, in a thread; what is kept is the sheet alone. Sheets are drawn one at
a time: of any number of requests at once, memory holds one sheet and one picture.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imagineo import errors
from imagineo.blobs import Blobs
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

#: The side of a small picture, by how many items there may be at most.
_SIDES_PX: Final = ((16, 256), (100, 192), (400, 128), (1_000, 96))
_GAP_PX: Final = 8
_CAPTION_PX: Final = 18
_FONT_PX: Final = 12

_PAPER: Final = (246, 246, 248)
_EMPTY: Final = (226, 226, 230)
_INK: Final = (40, 40, 46)

#: Larger files are shown as a word: no picture of ours is so large.
_MAX_FILE_BYTES: Final = 96 * 2**20
_MAX_PIXELS: Final = 8_192 * 8_192
#: How long a request waits for those before it.
WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One item on the sheet."""

    index: int
    word: str
    """Its status, shown where there is no picture."""
    store_key: str = ""
    size_bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the cells of a sheet stand."""

    columns: int
    rows: int
    side_px: int

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        step_x, step_y = self._steps
        return self.columns * step_x + _GAP_PX, self.rows * step_y + _GAP_PX

    def corner(self, place: int) -> tuple[int, int]:
        """The upper left corner of a cell, by its place from 0."""
        step_x, step_y = self._steps
        row, column = divmod(place, self.columns)
        return _GAP_PX + column * step_x, _GAP_PX + row * step_y

    @property
    def _steps(self) -> tuple[int, int]:
        return self.side_px + _GAP_PX, self.side_px + _CAPTION_PX + _GAP_PX


def layout_of(count: int) -> Layout:
    """As square as it goes, with smaller pictures the more there are."""
    columns = max(1, math.ceil(math.sqrt(count)))
    side_px = next((side for most, side in _SIDES_PX if count <= most), _SIDES_PX[-1][1])
    return Layout(columns, max(1, math.ceil(count / columns)), side_px)


def tag(cells: Sequence[Cell]) -> str:
    """What changes with the sheet, to compare with before it is drawn."""
    said = "\n".join(f"{cell.index} {cell.word} {cell.sha256}" for cell in cells)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


class ContactSheets:
    """Draws sheets, one at a time."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._turn = asyncio.Semaphore(1)

    async def draw(self, cells: Sequence[Cell]) -> bytes:
        """The sheet as PNG; a picture that is gone or damaged is shown as a word.

        Raises:
            Unavailable: if the store is away, or too many wait.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turn.acquire()
        except TimeoutError as problem:
            raise errors.Unavailable("Too many contact sheets are asked for just now.") from problem
        try:
            return await self._draw(cells)
        finally:
            self._turn.release()

    async def _draw(self, cells: Sequence[Cell]) -> bytes:
        layout = layout_of(len(cells))
        sheet = await asyncio.to_thread(_Sheet, layout)
        for place, cell in enumerate(cells):
            content = await self._content(cell)
            await asyncio.to_thread(sheet.put, place, cell, content)
        return await asyncio.to_thread(sheet.encoded)

    async def _content(self, cell: Cell) -> bytes | None:
        if not cell.store_key or cell.size_bytes > _MAX_FILE_BYTES:
            return None
        try:
            return await self._blobs.get(cell.store_key)
        except errors.NotFound:
            return None


class _Sheet:
    """The sheet while it is drawn; used from one thread at a time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._image = Image.new("RGB", layout.size_px, _PAPER)
        self._pen = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(_FONT_PX)

    def put(self, place: int, cell: Cell, content: bytes | None) -> None:
        """Draw one cell."""
        left, top = self._layout.corner(place)
        side = self._layout.side_px
        small = None if content is None else _small(content, side)
        if small is None:
            self._pen.rectangle((left, top, left + side - 1, top + side - 1), fill=_EMPTY)
            word = "gone" if cell.store_key else cell.word
            self._pen.text((left + side / 2, top + side / 2), word, fill=_INK, font=self._font, anchor="mm")
        else:
            self._image.paste(small, (left + (side - small.width) // 2, top + (side - small.height) // 2))
        below = (left + side / 2, top + side + _CAPTION_PX / 2)
        self._pen.text(below, str(cell.index), fill=_INK, font=self._font, anchor="mm")

    def encoded(self) -> bytes:
        """The whole as PNG."""
        buffer = io.BytesIO()
        self._image.save(buffer, "PNG", compress_level=3)
        return buffer.getvalue()


def _small(content: bytes, side_px: int) -> Image.Image | None:
    """The picture at most `side_px` wide and high; None if it cannot be read."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                return None
            picture.draft("RGB", (2 * side_px, 2 * side_px))  # a JPEG is decoded small
            small = picture.convert("RGB")
            small.thumbnail((side_px, side_px), reducing_gap=2.0)
            return small
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
