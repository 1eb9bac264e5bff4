"""What a variation or an upscale begins from: a run, an upload, or a picture that must be uploaded first."""

from __future__ import annotations

import os
from typing import Protocol, runtime_checkable

from imagineo_client.files import File
from imagineo_client.types.answers import Generation, Upload


@runtime_checkable
class Identified(Protocol):
    """The handle of a run."""

    @property
    def id(self) -> str:
        """Of the run."""


Source = Identified | Generation | Upload | str | os.PathLike[str] | bytes


def id_of(source: Source) -> str | None:
    """The run's or upload's id; None: it is a picture."""
    if isinstance(source, Generation):
        return source.run_id
    if isinstance(source, Upload):
        return source.upload_id
    if isinstance(source, str):
        return source if source.startswith(("gen_", "up_")) else None
    return source.id if isinstance(source, Identified) else None


def picture_of(source: Source) -> File:
    """The picture of a source that has no id."""
    if isinstance(source, (str, bytes, os.PathLike)):
        return source
    raise TypeError(f"A source is a run, an id, a path or a picture's bytes, not {type(source).__name__}.")
