"""Which models the engine holds in memory: it knows files by digest alone, the jobs say whose files they are."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable
from typing import Final

from imagineo.v1 import job_pb2

_MAX_COUNT: Final = 4096


class WarmModels:
    """Model id → digest of its LoRA file, for the models of the newest jobs; bounded. Use it from one event loop."""

    def __init__(self, *, max_count: int = _MAX_COUNT) -> None:
        self._max_count = max_count
        self._sha256s: collections.OrderedDict[str, str] = collections.OrderedDict()

    def note(self, adapters: Iterable[job_pb2.Adapter]) -> None:
        """Learn from a job's adapters; a model that was given another file counts with its newest."""
        for adapter in adapters:
            self._sha256s[adapter.model_id] = adapter.file.sha256
            self._sha256s.move_to_end(adapter.model_id)
        while len(self._sha256s) > self._max_count:
            self._sha256s.popitem(last=False)

    def among(self, warm_sha256s: Collection[str]) -> list[str]:
        """Name the models whose files are among those digests, sorted."""
        return sorted(model_id for model_id, sha256 in self._sha256s.items() if sha256 in warm_sha256s)
