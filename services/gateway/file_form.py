"""A multipart body with one file, read as it comes: the file goes on in pieces, nothing of it is kept here.

The framework's own form reader would put the whole file onto this machine's disk before anybody saw the first byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Final

from imagineo import errors
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.gateway.fields import missing, unknown

MEDIA_TYPE: Final = "multipart/form-data"

_PIECE_BYTES: Final = 512 * 1024
_FIELDS_MAX_BYTES: Final = 65_536
_PARTS_MAX_COUNT: Final = 256

#: How long a sender may be silent, and how fast the whole must come once it has been waited for some time.
SILENCE_S: Final = 25.0
PACE_BYTES_PER_S: Final = 16_384
PACE_AFTER_S: Final = 30.0


class FileForm:
    """One body: first all of `pieces`, then `fields`.

    Args:
        content_type: the request's header.
        file_field: the field that holds the file.
        names: the other fields.

    Raises:
        UnsupportedMediaType: if it is another kind of body.
    """

    def __init__(self, content_type: str, *, file_field: str, names: Collection[str]) -> None:
        media_type, options = parse_options_header(content_type)
        if media_type.decode("latin-1").lower() != MEDIA_TYPE:
            raise errors.UnsupportedMediaType(f"The body's content type must be {MEDIA_TYPE}.")
        self.fields: dict[str, list[str]] = {}
        """The texts of the other fields, by name, in their order."""
        self._file_field = file_field
        self._names = names
        self._file = bytearray()
        self._has_file = False
        self._is_whole = False
        self._parts_count = 0
        self._fields_bytes = 0
        self._name = ""
        self._text = bytearray()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        try:
            self._parser = MultipartParser(
                options.get(b"boundary", b""),
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._take_header_name,
                    "on_header_value": self._take_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._take_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as problem:
            raise _unreadable(str(problem)) from problem
        if b"boundary" not in options:
            raise _unreadable("the content type names no boundary")

    async def pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The file's bytes, as the body comes.

        Raises:
            UnknownField, InvalidParameter: for what the body holds besides, or if it is cut short.
        """
        async for data in body:
            if self._is_whole:
                continue  # what stands after the last boundary has no meaning
            try:
                self._parser.write(data)
            except FormParserError as problem:
                raise _unreadable(str(problem)) from problem
            while len(self._file) >= _PIECE_BYTES:
                yield self._taken()
        if not self._is_whole:
            raise _unreadable("it ends before its last boundary")
        if not self._has_file:
            raise missing(self._file_field, "a file")
        if self._file:
            yield self._taken()

    def _taken(self) -> bytes:
        piece = bytes(self._file[:_PIECE_BYTES])
        del self._file[:_PIECE_BYTES]
        return piece

    def _begin_part(self) -> None:
        self._parts_count += 1
        if self._parts_count > _PARTS_MAX_COUNT:
            raise _unreadable(f"it has more than {_PARTS_MAX_COUNT} parts")
        self._name, self._disposition = "", b""
        self._text.clear()

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == self._file_field:
            if self._has_file:
                raise _unreadable("it holds more than one file")
            self._has_file = True
        elif self._name not in self._names:
            raise unknown(self._name, (self._file_field, *self._names))

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._file_field:
            self._file += data[start:end]
            return
        self._fields_bytes += end - start
        if self._fields_bytes > _FIELDS_MAX_BYTES:
            raise _unreadable(f"its fields besides the file are larger than {_FIELDS_MAX_BYTES} bytes")
        self._text += data[start:end]

    def _end_part(self) -> None:
        if self._name == self._file_field:
            return
        try:
            text = self._text.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise errors.InvalidParameter.of(self._name, "text in UTF-8") from problem
        self.fields.setdefault(self._name, []).append(text)

    def _end(self) -> None:
        self._is_whole = True


class Pace:
    """Bounds how long a sender can hold a place by sending next to nothing."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._received_bytes = 0

    def note(self, waited_s: float, received_bytes: int) -> None:
        """Note a piece and how long it was waited for; time that the receiver took does not count.

        Raises:
            InvalidFile: if too little has come for the time.
        """
        self._waited_s += waited_s
        self._received_bytes += received_bytes
        if self._waited_s > PACE_AFTER_S and self._received_bytes < PACE_BYTES_PER_S * self._waited_s:
            raise errors.InvalidFile(
                f"The body comes slower than {PACE_BYTES_PER_S} bytes a second.", metadata={"param": "file"}
            )


async def paced(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same body, as long as it keeps coming.

    Raises:
        InvalidFile: if the sender is silent or too slow.
    """
    pace, loop = Pace(), asyncio.get_running_loop()
    while True:
        asked_s = loop.time()
        try:
            async with asyncio.timeout(SILENCE_S):
                data = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError as problem:
            message = f"Nothing of the body came for {SILENCE_S:g} seconds."
            raise errors.InvalidFile(message, metadata={"param": "file"}) from problem
        pace.note(loop.time() - asked_s, len(data))
        yield data


def _unreadable(why: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(f"The multipart body cannot be read: {why.rstrip('.')}.", metadata={"param": "file"})
