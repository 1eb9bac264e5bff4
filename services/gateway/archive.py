"""A ZIP archive that is made while it is sent: files are stored as they are, piece by piece, none of them whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import zipstream

#: What is sent in one piece at the end: the directory's records are small and many.
_PIECE_BYTES: Final = 65_536


class Archive:
    """Writes one archive; its methods give the bytes to send next and are used one after the other."""

    def __init__(self) -> None:
        self._zip = zipstream.ZipStream(compress_type=zipstream.ZIP_STORED)

    async def file(
        self, name: str, pieces: AsyncIterator[bytes], *, size_bytes: int | None = None
    ) -> AsyncIterator[bytes]:
        """Add one file.

        Args:
            name: within the archive.
            pieces: its content.
            size_bytes: its length; None where it is not known beforehand.
        """
        fed = _Fed()
        self._zip.add(fed, name, size=size_bytes)
        written = self._zip.file()
        yield next(written)  # the header; the library takes no piece before it is asked for the next
        async for piece in pieces:
            fed.piece = piece
            yield next(written)
        for rest in written:
            yield rest

    async def end(self) -> AsyncIterator[bytes]:
        """Write the directory."""
        waiting = bytearray()
        for record in self._zip.finalize():
            waiting += record
            if len(waiting) >= _PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
        yield bytes(waiting)


class _Fed(Iterator[bytes]):
    """Gives the library one piece for each time that it is asked, and its end where there is none."""

    def __init__(self) -> None:
        self.piece: bytes | None = None

    def __next__(self) -> bytes:
        piece, self.piece = self.piece, None
        if piece is None:
            raise StopIteration
        return piece
