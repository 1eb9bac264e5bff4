"""Previews of the runs in hand: small pictures for those who ask, never at the cost of a step.

A wish lasts a few seconds unless it is repeated. While one lasts, a run has at most one picture in the making and at
most two a second; a picture that does not fit in between is not made. All of it is lossy.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final

from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.v1 import event_pb2
from PIL import Image

from services.worker.engine.base import Progress, Sketch
from services.worker.engine.failures import DrawFailed

log = logging.getLogger(__name__)

WISH_S: Final = 10.0
INTERVAL_S: Final = 0.5
#: The largest picture that is sent: the first of these that is within it.
MOST_BYTES: Final = 24 << 10
#: (what the sides are divided by, quality)
_TRIES: Final = ((1, 70), (1, 40), (2, 40), (4, 40))


class Previews:
    """The wishes for previews of the runs in hand. Used on one event loop."""

    def __init__(self, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._clock = clock
        self._shown: dict[str, RunPreviews] = {}

    async def on_ask(self, subject: str, _body: bytes) -> None:
        """Note a wish; one for a run that is not in hand is another worker's."""
        if (run := self._shown.get(subject.rpartition(".")[2])) is not None:
            run.wish()

    @contextlib.contextmanager
    def of(self, run_id: str, attempt: int) -> Iterator[RunPreviews]:
        """A run's previews while it is drawn."""
        run = self._shown[run_id] = RunPreviews(self._broker, run_id, attempt, self._clock)
        try:
            yield run
        finally:
            del self._shown[run_id]
            run.close()


class RunPreviews:
    """One run's previews. Called on the device's thread; encodes and sends from the event loop that made it."""

    def __init__(self, broker: Broker, run_id: str, attempt: int, clock: Callable[[], float]) -> None:
        self._broker = broker
        self._run_id = run_id
        self._attempt = attempt
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._wished_until_s = self._next_s = float("-inf")
        self._is_busy = self._is_closed = False
        self._making: Future[Sketch] | None = None
        self._sending: asyncio.Task[None] | None = None

    def wish(self) -> None:
        """Somebody wants to see the run."""
        self._wished_until_s = self._clock() + WISH_S

    def __call__(self, progress: Progress) -> None:
        """Note a step: have it shown, if somebody wants to see it and its turn has come."""
        now_s = self._clock()
        if progress.sketch is None or self._is_busy or now_s < self._next_s or now_s >= self._wished_until_s:
            return
        self._next_s = now_s + INTERVAL_S
        making = self._making = progress.sketch()
        self._is_busy = True
        self._loop.call_soon_threadsafe(self._begin, making, progress)

    def close(self) -> None:
        """Show no more: the run is drawn, or over. Idempotent."""
        self._is_closed = True
        if self._making is not None:
            self._making.cancel()
        if self._sending is not None:
            self._sending.cancel()

    def _begin(self, making: Future[Sketch], progress: Progress) -> None:
        if self._is_closed:
            return
        self._sending = asyncio.create_task(self._send(making, progress))

    async def _send(self, making: Future[Sketch], progress: Progress) -> None:
        try:
            sketch = await asyncio.wrap_future(making)
            webp = await asyncio.to_thread(encode, sketch)
            message = event_pb2.Preview(
                run_id=self._run_id, attempt=self._attempt, step=progress.step, steps=progress.steps, webp=webp
            )
            if webp:
                await self._broker.emit(subjects.preview(self._run_id), message.SerializeToString())
        except DrawFailed:
            pass  # there is nothing to see; the run itself will say why
        except Exception:
            log.exception("a preview could not be made")
        finally:
            self._is_busy = False


def encode(sketch: Sketch) -> bytes:
    """A WebP file of at most `MOST_BYTES`; empty where it cannot be made so small."""
    image = Image.frombytes("RGB", (sketch.width_px, sketch.height_px), sketch.rgb)
    for divisor, quality in _TRIES:
        buffer = io.BytesIO()
        image.reduce(divisor).save(buffer, "WEBP", quality=quality, method=2)
        if buffer.tell() <= MOST_BYTES:
            return buffer.getvalue()
    return b""
