"""Keeps the workers' latest words on their steps in memory and stores them ten times a second in one statement."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from google.protobuf.message import DecodeError
from imagineo.errors import ImagineoError
from imagineo.v1 import event_pb2

from services.status.repository.runs import Runs

FLUSH_S = 0.1
_BATCH = 1000
_MAX_STEPS = 1000


class ProgressBook:
    """The latest word of each run. Progress is cheap: what cannot be stored is dropped, the next word follows soon."""

    def __init__(self, runs: Runs, changed: Callable[[str], None]) -> None:
        self._runs = runs
        self._changed = changed
        self._latest: dict[str, tuple[int, int, int]] = {}
        self._news = asyncio.Event()

    async def hear(self, _subject: str, body: bytes) -> None:
        """Note a word; it never goes back, and an older attempt says nothing."""
        try:
            word = event_pb2.Progress.FromString(body)
        except DecodeError:
            return
        heard = (word.attempt, max(0, min(99, word.progress)), max(0, min(_MAX_STEPS, word.step)))
        if "\0" not in word.run_id and heard > self._latest.get(word.run_id, (0, 0, 0)):
            self._latest[word.run_id] = heard
            self._news.set()

    async def run(self) -> None:
        """Store what was heard, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            with contextlib.suppress(ImagineoError):
                await self.flush()
            await asyncio.sleep(FLUSH_S)

    async def flush(self) -> None:
        """Store what was heard until now."""
        latest, self._latest = self._latest, {}
        words = [(run_id, *heard) for run_id, heard in sorted(latest.items())]
        for start in range(0, len(words), _BATCH):
            for run_id in await self._runs.save_progress(words[start : start + _BATCH]):
                self._changed(run_id)
