"""Previews of one run for those who want to see it: asked for while it runs, again and again, and passed on.

Asking is lossy, so it is repeated: a worker that restarts hears it, and one that hears nothing stops by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError
from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.v1 import event_pb2, generation_pb2

#: A wish lasts ten seconds with the worker.
ASK_S: Final = 3.0
#: What is larger is no worker's.
_MOST_BYTES: Final = 64 << 10


class Previewing:
    """Asks for a run's previews from now until `end`; shows each that is newer than the one before."""

    def __init__(self, broker: Broker, run_id: str, show: Callable[[event_pb2.Preview], None]) -> None:
        self._broker = broker
        self._run_id = run_id
        self._show = show
        self._running = asyncio.Event()
        self._last = (0, 0)
        self._asking = asyncio.create_task(self._ask())

    def note(self, status: generation_pb2.Status.ValueType) -> None:
        """Note the run's status: previews are asked for, and shown, while it is running."""
        if status == generation_pb2.STATUS_RUNNING:
            self._running.set()
        else:
            self._running.clear()

    def end(self) -> None:
        """Ask no more. Idempotent."""
        self._running.clear()
        self._asking.cancel()

    async def _ask(self) -> None:
        await self._running.wait()
        subscription = await self._broker.subscribe(subjects.preview(self._run_id), self._hear)
        try:
            while True:
                await self._running.wait()
                await self._broker.emit(subjects.preview_ask(self._run_id), b"")
                await asyncio.sleep(ASK_S)
        finally:
            await subscription.close()

    async def _hear(self, _subject: str, body: bytes) -> None:
        if not self._running.is_set() or len(body) > _MOST_BYTES:
            return
        try:
            preview = event_pb2.Preview.FromString(body)
        except DecodeError:
            return
        place = (preview.attempt, preview.step)
        if preview.run_id == self._run_id and place > self._last:
            self._last = place
            self._show(preview)
