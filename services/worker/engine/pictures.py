"""Latents to pictures of the size asked, on a thread of their own: what waits together is decoded together.

A picture that is enlarged is so after the others before it, a tile at a time: between two tiles others are decoded.

A picture too large for the memory is decoded in tiles that overlap and are blended, as the stock pipeline does when
told to; up to that size it is decoded whole, since tiles change it a little.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from services.worker.engine import memory
from services.worker.engine.base import DrawRequest, DrawStopped, SourceImage, StopReason, StopSignal
from services.worker.engine.device_thread import DeviceThread
from services.worker.engine.enlarging import advanced
from services.worker.engine.failures import NotFinite, OutOfMemory
from services.worker.engine.model import Model
from services.worker.engine.sizing import Size
from services.worker.engine.sources import Encoded
from services.worker.engine.upscaler import Enlargement, enlargement_to, fitted

#: Pixels that are decoded at once at most: the autoencoder saturates a device early, and its memory is large.
_MOST_PX: Final = 1 << 20
#: Pixels of one picture beyond which it is decoded in tiles.
UNTILED_PX: Final = 1 << 21
#: Nobody wants the picture then; a run of a worker that ends is finished all the same.
_UNWANTED: Final = (StopReason.CANCELED, StopReason.LOST)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with the seconds that the device worked on it."""

    image: Image.Image
    decode_s: float
    upscale_s: float


@dataclass(slots=True, eq=False)
class _Latents:
    model: Model
    latents: Tensor
    asked: Size
    stop: StopSignal
    answer: Future[Picture] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[str, tuple[int, ...]]:
        return (self.model.base.slug, tuple(self.latents.shape))


@dataclass(slots=True, eq=False)
class _Enlarging:
    wanted: _Latents
    enlargement: Enlargement
    decode_s: float
    upscale_s: float


class PictureDesk:
    """Decodes and enlarges."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        self.thread = DeviceThread(prepare)
        self._waiting: collections.deque[_Latents] = collections.deque()
        # The thread's alone.
        self._enlargings: collections.deque[_Enlarging] = collections.deque()

    async def draw(self, model: Model, latents: Tensor, asked: Size, stop: StopSignal) -> Picture:
        """The picture of latents (1, channels, height, width).

        Raises:
            DrawStopped: if nobody wants it any more before it is decoded, or before its last tile.
            NotFinite: if its numbers ran away.
            OutOfMemory: if the device does not hold it.
        """
        mine = _Latents(model, latents, asked, stop)
        mine.answer.set_running_or_notify_cancel()
        self._waiting.append(mine)
        await self.thread.run(self._serve)
        return await asyncio.wrap_future(mine.answer)

    async def encode(self, model: Model, request: DrawRequest) -> Encoded | None:
        """The picture that a request starts from, if any.

        Raises:
            OutOfMemory: if the device does not hold it.
        """
        source = request.source
        if source is None:
            return None
        try:
            return await self.thread.run(lambda: _encoded(model, source, model.drawn_size(request)))
        except Exception as problem:
            if memory.is_out_of_memory(problem):
                raise OutOfMemory from problem
            raise

    async def close(self) -> None:
        """End the thread after the work that waits; pictures that are being enlarged are dropped."""
        await self.thread.close()
        while self._enlargings:
            self._enlargings.popleft().wanted.answer.set_exception(DrawStopped())

    @torch.inference_mode()
    def _serve(self) -> None:
        """Serve the first that waits, and those of its kind with it; there may be nobody left."""
        together = self._take()
        if not together:
            return
        pictures = None
        if len(together) > 1:
            with contextlib.suppress(Exception):  # each is tried alone then, and only the one at fault fails
                pictures = self._decoded(together)
        for index, one in enumerate(together):
            try:
                self._go_on(one, *(pictures[index] if pictures else self._decoded_alone(one)))
            except Exception as problem:  # noqa: BLE001 - it is the outcome of this picture alone
                one.answer.set_exception(OutOfMemory() if memory.is_out_of_memory(problem) else problem)

    def _take(self) -> list[_Latents]:
        for one in [one for one in self._waiting if one.stop.reason in _UNWANTED]:
            self._waiting.remove(one)
            one.answer.set_exception(DrawStopped())
        if not self._waiting:
            return []
        first = self._waiting.popleft()
        together = [first]
        height, width = first.latents.shape[2:]
        most = max(1, _MOST_PX // (height * width * first.model.pipeline.vae_scale_factor**2))
        for one in list(self._waiting):
            if len(together) < most and one.kind == first.kind:
                self._waiting.remove(one)
                together.append(one)
        return together

    def _decoded_alone(self, one: _Latents) -> tuple[Image.Image | None, float]:
        """Decode one picture; in tiles where it is large, or where memory runs out otherwise."""
        height, width = one.latents.shape[2:]
        vae = one.model.pipeline.vae
        if height * width * one.model.pipeline.vae_scale_factor**2 <= UNTILED_PX:
            try:
                return self._decoded([one])[0]
            except Exception as problem:
                if not memory.is_out_of_memory(problem):
                    raise
            one.model.adapters.memory.give_back()
        vae.enable_tiling()
        try:
            return self._decoded([one])[0]
        finally:
            vae.disable_tiling()

    def _decoded(self, together: list[_Latents]) -> list[tuple[Image.Image | None, float]]:
        started_s = time.perf_counter()
        model = together[0].model
        images = model.family.decoding.decode(model.pipeline, torch.cat([one.latents for one in together]))
        share_s = (time.perf_counter() - started_s) / len(together)
        return [(image, share_s) for image in images]

    def _go_on(self, one: _Latents, image: Image.Image | None, decode_s: float) -> None:
        """Answer with a decoded picture, or have it enlarged first."""
        if image is None:
            raise NotFinite
        started_s = time.perf_counter()
        enlargement = enlargement_to(one.asked, image, one.model.upscaler, one.model.device)
        if enlargement is None:
            picture = fitted(image, one.asked)
            one.answer.set_result(Picture(picture, decode_s, time.perf_counter() - started_s))
            return
        self._enlargings.append(_Enlarging(one, enlargement, decode_s, time.perf_counter() - started_s))
        if len(self._enlargings) == 1:
            self.thread.submit(self._enlarge)

    @torch.inference_mode()
    def _enlarge(self) -> None:
        """Make one tile of the picture that came first, and see to it that the next one is made."""
        first = self._enlargings[0]
        try:
            picture = self._advanced(first)
            if picture is not None:
                first.wanted.answer.set_result(picture)
        except Exception as problem:  # noqa: BLE001 - it is the outcome of this picture alone
            first.wanted.answer.set_exception(OutOfMemory() if memory.is_out_of_memory(problem) else problem)
        if first.wanted.answer.done():
            self._enlargings.popleft()
        if self._enlargings:
            self.thread.submit(self._enlarge)

    def _advanced(self, one: _Enlarging) -> Picture | None:
        """The picture, once its last tile is made."""
        if one.wanted.stop.reason in _UNWANTED:
            raise DrawStopped
        one.upscale_s += advanced(one.enlargement, one.wanted.model.adapters.memory.give_back)
        if one.enlargement.step < one.enlargement.steps:
            return None
        started_s = time.perf_counter()
        picture = fitted(one.enlargement.image(), one.wanted.asked)
        return Picture(picture, one.decode_s, one.upscale_s + time.perf_counter() - started_s)


@torch.inference_mode()
def _encoded(model: Model, source: SourceImage, size: Size) -> Encoded:
    return model.encode(source, size)
