"""The handle of a run: follow it, wait for it, stop it, take its picture."""

from __future__ import annotations

import math
import os
import time
from contextlib import aclosing
from pathlib import Path

import httpx
from typing_extensions import Unpack

from imagineo_client import endings, errors
from imagineo_client.aio.drawing import Drawing
from imagineo_client.aio.transport import told
from imagineo_client.calls import Call
from imagineo_client.events import OVER, SILENCE_S, AsyncEvents, EventParser, Resumption
from imagineo_client.files import check_writable, written_whole
from imagineo_client.pictures import Picture
from imagineo_client.types.answers import Generation, Submitted
from imagineo_client.types.requests import UpscaleOptions, VariationsOptions
from imagineo_client.waiting import async_sleep

_POLL_S = 2.0


class AsyncRun:
    """One generation. `generation` is the newest state that was seen; None before one was."""

    def __init__(self, drawing: Drawing, run_id: str, *, submitted: Submitted | None = None) -> None:
        self.id = run_id
        self.submitted = submitted
        self.generation: Generation | None = None
        self._drawing = drawing
        self._transport = drawing.transport

    @property
    def seed(self) -> int | None:
        """What draws the same picture again; None before it is known."""
        known = self.generation or self.submitted
        return known.seed if known else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{' ' + self.generation.status if self.generation else ''}>"

    async def refresh(self) -> Generation:
        """Ask how it stands."""
        return self._seen(await self._transport.answer(Call("GET", self._path, Generation)))

    async def cancel(self) -> Generation:
        """Tell it to stop; idempotent, and without effect on one that is over."""
        return self._seen(await self._transport.answer(Call("POST", f"{self._path}/cancel", Generation)))

    async def delete(self) -> None:
        """Erase it for good, its picture included."""
        await self._transport.done(Call("DELETE", self._path, type(None)))

    async def events(
        self, *, previews: bool = False, last_event_id: str | None = None, timeout_s: float | None = None
    ) -> AsyncEvents:
        """Follow it until it is over; a connection that is cut is taken up again where it was.

        Args:
            previews: also small pictures of what it is about to become.
            last_event_id: only what came after this event.
            timeout_s: follow it no longer, over or not.
        """
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        resumption = Resumption(last_event_id, self._max_retries)
        async with aclosing(self._events(resumption, previews=previews, deadline=deadline)) as found:
            async for event in found:
                yield event
                if time.monotonic() > deadline:
                    return

    async def wait(self, *, timeout_s: float | None = None, cancel_on_timeout: bool = True) -> Generation:
        """Wait until it is completed.

        Raises:
            RunEndedError: if it ends otherwise.
            WaitTimeoutError: if it is not over in time; it is canceled, unless told otherwise.
        """
        if self.generation is None or self.generation.status not in OVER:
            deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
            if not await self._followed(deadline):
                await self._given_up(timeout_s, cancel_on_timeout)
        return endings.completed(self.generation)

    async def image(self, *, timeout_s: float | None = None, cancel_on_timeout: bool = True) -> Picture:
        """The picture's file, waited for if need be: bytes, with `.pil()` where Pillow is there."""
        generation = await self.wait(timeout_s=timeout_s, cancel_on_timeout=cancel_on_timeout)
        try:
            return await self._transport.download(endings.image_url(generation))
        except errors.PermissionDeniedError:  # the link has expired since
            return await self._transport.download(endings.image_url(await self.refresh()))

    async def save(
        self, path: str | os.PathLike[str], *, timeout_s: float | None = None, cancel_on_timeout: bool = True
    ) -> Path:
        """Write the picture's file, waited for if need be.

        Raises:
            OSError: if it cannot be written; a place that cannot be written to is told before the wait.
        """
        check_writable(path)
        content = await self.image(timeout_s=timeout_s, cancel_on_timeout=cancel_on_timeout)
        with written_whole(path) as file:
            file.write(content)
        return Path(path)

    async def upscale(self, scale: int = 2, **options: Unpack[UpscaleOptions]) -> AsyncRun:
        """Enlarge its picture, as a new run."""
        return await self._drawing.upscale(self, scale, **options)

    async def variations(
        self, count: int = 1, strength: float | None = None, **options: Unpack[VariationsOptions]
    ) -> list[AsyncRun]:
        """Draw pictures like its own, as new runs."""
        return await self._drawing.variations(self, count, strength, **options)

    @property
    def _max_retries(self) -> int:
        return self._transport.policy.max_retries

    @property
    def _path(self) -> str:
        return f"/v1/generations/{self.id}"

    def _seen(self, generation: Generation) -> Generation:
        self.generation = generation
        return generation

    async def _followed(self, deadline: float) -> bool:
        """Whether it is over before the deadline."""
        resumption = Resumption(None, self._max_retries, polls_instead=True)
        try:
            async with aclosing(self._events(resumption, deadline=deadline)) as found:
                async for event in found:
                    if event.is_over:
                        return True
                    if time.monotonic() > deadline:
                        return False
        except errors.TooManyStreamsError:
            return await self._polled(deadline)
        return self.generation is not None and self.generation.status in OVER

    async def _polled(self, deadline: float) -> bool:
        while (await self.refresh()).status not in OVER:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            await async_sleep(min(_POLL_S, left_s))
        return True

    async def _given_up(self, timeout_s: float | None, cancel: bool) -> None:
        if cancel and (await self.cancel()).status == "completed":
            return  # it was faster
        said = "it was told to stop" if cancel else "it goes on"
        raise errors.WaitTimeoutError(f"{self.id} is not over after {timeout_s} s; {said}.", canceled=cancel)

    async def _events(
        self, resumption: Resumption, *, previews: bool = False, deadline: float = math.inf
    ) -> AsyncEvents:
        while True:
            problem: Exception = errors.ConnectionFailedError(f"The events of {self.id} ended before it was over.")
            try:
                async with aclosing(self._connection(resumption, previews, deadline)) as found:
                    async for event in found:
                        yield event
                        if event.is_over:
                            return
                if resumption.is_told_all:
                    return
            except (httpx.RequestError, errors.ImagineoError) as broken:
                problem = broken
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            pause_s = resumption.pause_s(problem)
            if pause_s is None:
                raise told(problem, f"The events of {self.id}", self._transport.base_url)
            await async_sleep(min(pause_s, left_s))
            if pause_s >= left_s:
                return

    async def _connection(self, resumption: Resumption, previews: bool, deadline: float) -> AsyncEvents:
        """The events of one connection."""
        query = {"previews": "true"} if previews else {}
        call = Call("GET", f"{self._path}/events", type(None), query=query, headers=resumption.headers)
        silence_s = min(SILENCE_S, max(0.05, deadline - time.monotonic()))
        parser = EventParser()
        async with self._transport.stream(call, silence_s=silence_s) as response:
            if response.status_code == 204:
                resumption.is_told_all = True
                return
            async for content in response.aiter_bytes():
                for event in parser.feed(content):
                    resumption.note(event)
                    if event.generation is not None:
                        self._seen(event.generation)
                    yield event
                resumption.retry_s = resumption.retry_s if parser.retry_s is None else parser.retry_s
