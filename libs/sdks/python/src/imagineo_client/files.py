"""Files that are sent: opened anew for each sending, with their progress told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

#: Told of the bytes sent so far, and of all.
Progress = Callable[[int, int], None]
#: A file by its path, or its content.
File = str | os.PathLike[str] | bytes


class TellingFile:
    """A binary file that says how much of it has been read."""

    def __init__(self, file: BinaryIO, total_bytes: int, on_progress: Progress) -> None:
        self._file = file
        self._total_bytes = total_bytes
        self._on_progress = on_progress

    def read(self, size: int = -1) -> bytes:
        """Read on, and tell."""
        content = self._file.read(size)
        if content:
            self._on_progress(self._file.tell(), self._total_bytes)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self._file.tell()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


@dataclass(frozen=True)
class Form:
    """A multipart body with one file."""

    file: File
    fields: Mapping[str, str | list[str]] = field(default_factory=dict)
    on_progress: Progress | None = None

    def opened(self) -> TellingFile:
        """The file from its beginning. Whoever asks closes it.

        Raises:
            OSError: if it cannot be read.
        """
        if isinstance(self.file, bytes):
            file: BinaryIO = BytesIO(self.file)
            total_bytes = len(self.file)
        else:
            file = Path(self.file).open("rb")  # noqa: SIM115 - whoever asks closes it
            total_bytes = os.fstat(file.fileno()).st_size
        return TellingFile(file, total_bytes, self.on_progress or _silent)

    @property
    def size_bytes(self) -> int:
        """How large the file is."""
        return len(self.file) if isinstance(self.file, bytes) else Path(self.file).stat().st_size

    @property
    def name(self) -> str:
        """What the file is called."""
        return "file" if isinstance(self.file, bytes) else Path(self.file).name


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out now whether a file can be written later, before anybody waits for what shall be in it.

    Raises:
        OSError: if it cannot; it names the file.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder, and must be a file", str(target))
    if not _is_special(target):
        part = _part_of(target)
        with _told_of(target):
            part.open("wb").close()
            part.unlink()


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that appears under its name once it is whole; on an error nothing is left.

    Raises:
        OSError: if it cannot be written; it names the file.
    """
    target = Path(path)
    if _is_special(target):
        with _told_of(target), target.open("wb") as device:
            yield device
        return
    part = _part_of(target)
    with _told_of(target), part.open("wb") as file:
        try:
            yield file
            file.close()
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _is_special(target: Path) -> bool:
    """Whether it is a device or a pipe, which must not be replaced by a file."""
    return target.exists() and not target.is_file()


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.part")


@contextmanager
def _told_of(target: Path) -> Iterator[None]:
    """Name the file that was asked for in the system's errors: it names the part, or on a full disk none."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as problem:
        if problem.errno is None or problem.filename not in (None, str(_part_of(target))):
            raise
        raise OSError(problem.errno, os.strerror(problem.errno), str(target)) from problem


def _silent(_sent_bytes: int, _total_bytes: int) -> None:
    """Tell nobody."""
