"""Durable, atomic writes into a local folder; reading it is obstore's part.

obstore writes a sibling file and renames it, which is atomic but syncs nothing. Here the file, the directory that names
it and every directory made on the way are synced before a put returns, so that it survives a power cut on a file system
that honours fsync. All functions block: call them in a thread.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import IO, Final

_TRIES: Final = 20  # a delete may take away an empty directory between our making it and our using it


class Staged:
    """A hidden sibling of the object to be; `commit` makes it the object, `abort` removes it.

    It is named `<object>#<digits>`, which obstore's listing leaves out.
    """

    def __init__(self, root: Path, key: str) -> None:
        self._target = root / key
        self._path = self._target.with_name(f"{self._target.name}#{secrets.randbits(60)}")
        self._file = _create(self._path, root)

    def write(self, data: bytes) -> None:
        """Append a piece."""
        self._file.write(data)

    def copy(self, source: IO[bytes]) -> None:
        """Append a file."""
        shutil.copyfileobj(source, self._file, 1 << 20)

    def commit(self) -> None:
        """Sync, rename, sync the directory: from here on the object is there for good."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._path.replace(self._target)
        _sync_directory(self._target.parent)

    def abort(self) -> None:
        """Leave nothing behind; harmless after a commit."""
        with contextlib.suppress(OSError):  # a full disk may refuse the last flush
            self._file.close()
        self._path.unlink(missing_ok=True)


def put_bytes(root: Path, key: str, data: bytes) -> None:
    """Write an object."""
    staged = Staged(root, key)
    try:
        staged.write(data)
        staged.commit()
    finally:
        staged.abort()


def put_file(root: Path, key: str, path: Path) -> None:
    """Copy a file into an object."""
    staged = Staged(root, key)
    try:
        with path.open("rb") as source:
            staged.copy(source)
        staged.commit()
    finally:
        staged.abort()


def delete(root: Path, key: str) -> None:
    """Remove an object for good, and the directories that it leaves empty."""
    target = root / key
    try:
        target.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    _sync_directory(target.parent)
    for directory in target.parents:
        if directory == root:
            return
        try:
            directory.rmdir()
        except OSError:  # not empty, or another delete was faster
            return


def _create(path: Path, root: Path) -> IO[bytes]:
    for _ in range(_TRIES):
        _make_directory(path.parent, root)
        with contextlib.suppress(FileNotFoundError):
            return path.open("xb")
    raise FileNotFoundError(path)


def _make_directory(directory: Path, root: Path) -> None:
    if directory.is_dir():
        return
    if directory != root:
        _make_directory(directory.parent, root)
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            directory.mkdir()
    else:
        directory.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # emptied and removed by a delete: nothing is left to sync
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
