"""The data folder: where everything of one local platform lies, and the secrets that were made for it once."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class FolderError(Exception):
    """The data folder cannot be used; the message says why."""


class AlreadyRunningError(FolderError):
    """Another supervisor works in the same data folder."""


@dataclass(frozen=True)
class Place:
    """The paths inside one data folder, which is absolute."""

    folder: Path

    @property
    def postgres(self) -> Path:
        """The database's cluster folder."""
        return self.folder / "postgres"

    @property
    def nats(self) -> Path:
        """The broker's configuration and streams."""
        return self.folder / "nats"

    @property
    def blobs(self) -> Path:
        """The object store."""
        return self.folder / "blobs"

    @property
    def mail(self) -> Path:
        """Where letters lie that the platform would send."""
        return self.folder / "mail"

    @property
    def first_image(self) -> Path:
        """The first picture, kept for a person to look at."""
        return self.folder / "first-image.png"

    @property
    def operator_environment(self) -> Path:
        """A shell file with the variables that the operator's commands need."""
        return self.folder / "operator.env"

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.folder / "logs" / f"{name}.log"

    def ports_file(self, name: str) -> Path:
        """Where a service writes its ports once it serves."""
        return self.folder / "run" / f"{name}.json"

    def cache(self, worker: str) -> Path:
        """Where a worker keeps fetched model files."""
        return self.folder / "cache" / worker

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for this process alone.

        Raises:
            AlreadyRunningError: if another process holds it.
            FolderError: if it cannot be made or written to.
        """
        try:
            for folder in (self.folder, self.folder / "logs", self.folder / "run", self.blobs):
                folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        except OSError as problem:
            raise FolderError(
                f"The data folder {self.folder} cannot be used: {problem}. Choose another --data."
            ) from problem
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as taken:
                raise AlreadyRunningError(f"Another platform runs in {self.folder}. Choose another --data.") from taken
            yield

    def secrets(self) -> Secrets:
        """The folder's secrets; each is made once, those of a newer platform in an older folder as well."""
        path = self.folder / "secrets.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        fresh = {name: secrets.token_hex(24) for name in ("postgres_password", "nats_token", "signing_key")}
        fresh["webhooks_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        if fresh.keys() - known.keys():
            known = fresh | known
            write_private(path, known)
        return Secrets(**known)


@dataclass(frozen=True)
class Secrets:
    """What the parts prove themselves to each other with."""

    postgres_password: str
    nats_token: str
    signing_key: str
    webhooks_key: str
    """A Fernet key: signing secrets of webhooks are encrypted with it."""


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    write_private_text(path, json.dumps(content, indent=2) + "\n")


def write_private_text(path: Path, content: str) -> None:
    """Write text that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(content)
    draft.replace(path)
