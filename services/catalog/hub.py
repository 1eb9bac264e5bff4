"""A base model of the hub: its small files, the digests of its weights, and one file of these after the other.

The hub tells digests without a download, so that weights which the store has already are never fetched again.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from imagineo.errors import FailedPrecondition

#: What a worker needs of a base model: no pickles, no pictures, no other frameworks' weights.
PATTERNS: Final = ("*.json", "*/*.json", "*/*.safetensors", "*/*.txt", "*/*.model")


@dataclass(frozen=True, slots=True)
class Weights:
    """What the hub says of one file of weights."""

    sha256: str
    size_bytes: int


class HubModel:
    """One revision of a base model; weights are empty files in `directory` until they are fetched."""

    def __init__(self, directory: Path, source: str, revision: str, weights: Mapping[str, Weights]) -> None:
        self.directory = directory
        self.weights = weights
        self._source = source
        self._revision = revision

    def fetch(self, path: str) -> Path:
        """Fetch one file; blocks for as long as that takes.

        Raises:
            FailedPrecondition: if it cannot be had, or is not what was said.
        """
        local = self.directory / path
        local.unlink(missing_ok=True)
        with _told(self._source):
            _hub().hf_hub_download(self._source, path, revision=self._revision, local_dir=self.directory)
        return local


@contextlib.contextmanager
def opened(source: str, revision: str = "") -> Iterator[HubModel]:
    """Fetch the small files into a folder that is gone afterwards.

    Raises:
        FailedPrecondition: if there is no such model, or the hub cannot be reached and this machine's cache has it not.
    """
    hub = _hub()
    try:
        listed = hub.HfApi().model_info(source, revision=revision or None, files_metadata=True)
    except _failures():
        with _told(source):  # of a hub that is away there may be a copy
            cached = hub.snapshot_download(source, revision=revision or None, allow_patterns=list(PATTERNS))
        yield HubModel(Path(cached), source, revision, {})
        return
    with tempfile.TemporaryDirectory(prefix="imagineo-hub-") as place:
        folder = Path(place) / source  # what is wrong with it is told by this name
        folder.mkdir(parents=True)
        files = [file for file in listed.siblings or () if any(fnmatch(file.rfilename, glob) for glob in PATTERNS)]
        model = HubModel(folder, source, str(listed.sha), dict(filter(None, map(_weights, files))))
        for file in files:
            if file.rfilename in model.weights:
                weights = folder / file.rfilename
                weights.parent.mkdir(parents=True, exist_ok=True)
                weights.touch()
            else:
                model.fetch(file.rfilename)
        yield model


def _weights(file: Any) -> tuple[str, Weights] | None:
    """A file of weights whose digest the hub tells; None for any other."""
    if not file.rfilename.endswith(".safetensors") or file.lfs is None:
        return None
    return file.rfilename, Weights(file.lfs.sha256, file.lfs.size)


@contextlib.contextmanager
def _told(source: str) -> Iterator[None]:
    told: tuple[type[Exception], ...] = (*_failures(), ValueError, RuntimeError)
    try:
        yield
    except told as problem:
        raise FailedPrecondition(
            f"'{source}' is not a directory, and could not be fetched from the hub: {problem}"
        ) from problem


def _failures() -> tuple[type[Exception], ...]:
    """What is raised without an answer of the hub: the HTTP client's own errors too, whichever client it is."""
    return OSError, _hub().errors.HTTPError


def _hub() -> ModuleType:
    try:
        import huggingface_hub.errors  # noqa: PLC0415  # an extra
    except ImportError as problem:
        raise FailedPrecondition("Base models of the hub need the package huggingface_hub.") from problem
    return huggingface_hub
