"""A batch's request in its three forms, and its results line by line. Pure but for reading the file."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from imagineo_client.answering import decoded
from imagineo_client.files import File
from imagineo_client.types.answers import Batch
from imagineo_client.types.requests import BatchItem, BatchSweep

T = TypeVar("T")
#: So many wrong lines are named at once.
_TOLD_LINES = 10
#: A batch is looked at about so often until it is over.
_LOOKS = 20
_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 10.0
IN_PROGRESS = frozenset({"running", "canceling"})


@dataclass(frozen=True)
class BatchBody:
    """What is sent."""

    content: dict[str, Any]

    @property
    def needs_model(self) -> bool:
        """Whether some item says no model in any of the places where it may."""
        if "model_id" in self.content.get("defaults", {}):
            return False
        if "sweep" in self.content:
            return "model_ids" not in self.content["sweep"]
        return any("model_id" not in item for item in self.content["items"])

    def with_model(self, model_id: str) -> BatchBody:
        """The same with a model for those that say none."""
        defaults = {**self.content.get("defaults", {}), "model_id": model_id}
        return replace(self, content={**self.content, "defaults": defaults})


def body_of(
    items: Sequence[BatchItem] | None,
    file: File | None,
    sweep: BatchSweep | None,
    defaults: BatchItem | None,
    own: Mapping[str, Any],
) -> BatchBody:
    """The request's body.

    Raises:
        ValueError: unless there is exactly one of items, file and sweep, or if a line of the file is no object.
        OSError: if the file cannot be read.
    """
    if sum(one is not None for one in (items, file, sweep)) != 1:
        raise ValueError("A batch needs exactly one of items, file and sweep.")
    content: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    if defaults is not None:
        content["defaults"] = dict(defaults)
    if sweep is not None:
        content["sweep"] = dict(sweep)
    else:
        content["items"] = [dict(item) for item in items] if items is not None else _lines_of(file or b"")
    return BatchBody(content)


def _lines_of(file: File) -> list[dict[str, Any]]:
    content = (file if isinstance(file, bytes) else Path(file).read_bytes()).removeprefix(codecs.BOM_UTF8)
    found: list[dict[str, Any]] = []
    wrong: list[str] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line.decode())
        except UnicodeDecodeError:
            wrong.append(f"Line {number} is no UTF-8.")
            continue
        except json.JSONDecodeError as problem:
            wrong.append(f"Line {number} is no JSON: {problem.msg} at column {problem.colno}.")
            continue
        if isinstance(item, dict):
            found.append(item)
        else:
            wrong.append(f"Line {number} is no JSON object.")
    if len(wrong) > _TOLD_LINES:
        wrong = [*wrong[:_TOLD_LINES], f"So are {len(wrong) - _TOLD_LINES} more lines."]
    if wrong:
        raise ValueError(" ".join(wrong))
    if not found:
        raise ValueError("The file has no lines.")
    return found


def over_count(batch: Batch) -> int:
    """How many items are over."""
    return batch.items.total - batch.items.queued - batch.items.running - batch.items.canceling


def pause_s(batch: Batch) -> float:
    """How long to wait between two looks, which count as requests: often while it is short, seldom while it is long."""
    return min(_LONGEST_PAUSE_S, max(_SHORTEST_PAUSE_S, batch.estimated_time / _LOOKS))


@dataclass(frozen=True)
class LineReader(Generic[T]):
    """Takes a JSON-lines answer apart."""

    shape: type[T]

    def lines(self, content: bytes) -> list[T]:
        """One object a line."""
        return [decoded(line, self.shape, "the batch's results") for line in content.splitlines() if line.strip()]
