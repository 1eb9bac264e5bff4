"""The handle of a run: follow it, wait for it, stop it, take its picture."""

from __future__ import annotations

import math
import os
import time
from contextlib import closing
from pathlib import Path

import httpx
from typing_extensions import Unpack

from imagineo_client import endings, errors
from imagineo_client.calls import Call
from imagineo_client.events import OVER, SILENCE_S, EventParser, Events, Resumption
from imagineo_client.files import check_writable, written_whole
from imagineo_client.pictures import Picture
from imagineo_client.sync.drawing import Drawing
from imagineo_client.sync.transport import told
from imagineo_client.types.answers import Generation, Submitted
from imagineo_client.types.requests import UpscaleOptions, VariationsOptions
from imagineo_client.waiting import sleep

_POLL_S = 2.0


class Run:
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

    def refresh(self) -> Generation:
        """Ask how it stands."""
        return self._seen(self._transport.answer(Call("GET", self._path, Generation)))

    def cancel(self) -> Generation:
        """Tell it to stop; idempotent, and without effect on one that is over."""
        return self._seen(self._transport.answer(Call("POST", f"{self._path}/cancel", Generation)))

    def delete(self) -> None:
        """Erase it for good, its picture included."""
        self._transport.done(Call("DELETE", self._path, type(None)))

    def events(
        self, *, previews: bool = False, last_event_id: str | None = None, timeout_s: float | None = None
    ) -> Events:
        """Follow it until it is over; a connection that is cut is taken up again where it was.

        Args:
            previews: also small pictures of what it is about to become.
            last_event_id: only what came after this event.
            timeout_s: follow it no longer, over or not.
        """
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        resumption = Resumption(last_event_id, self._max_retries)
        with closing(self._events(resumption, previews=previews, deadline=deadline)) as found:
            for event in found:
                yield event
                if time.monotonic() > deadline:
                    return

    def wait(self, *, timeout_s: float | None = None, cancel_on_timeout: bool = True) -> Generation:
        """Wait until it is completed.

        Raises:
            RunEndedError: if it ends otherwise.
            WaitTimeoutError: if it is not over in time; it is canceled, unless told otherwise.
        """
        if self.generation is None or self.generation.status not in OVER:
            deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
            if not self._followed(deadline):
                self._given_up(timeout_s, cancel_on_timeout)
        return endings.completed(self.generation)

    def image(self, *, timeout_s: float | None = None, cancel_on_timeout: bool = True) -> Picture:
        """The picture's file, waited for if need be: bytes, with `.pil()` where Pillow is there."""
        generation = self.wait(timeout_s=timeout_s, cancel_on_timeout=cancel_on_timeout)
        try:
            return self._transport.download(endings.image_url(generation))
        except errors.PermissionDeniedError:  # the link has expired since
            return self._transport.download(endings.image_url(self.refresh()))

    def save(
        self, path: str | os.PathLike[str], *, timeout_s: float | None = None, cancel_on_timeout: bool = True
    ) -> Path:
        """Write the picture's file, waited for if need be.

        Raises:
            OSError: if it cannot be written; a place that cannot be written to is told before the wait.
        """
        check_writable(path)
        content = self.image(timeout_s=timeout_s, cancel_on_timeout=cancel_on_timeout)
        with written_whole(path) as file:
            file.write(content)
        return Path(path)

    def upscale(self, scale: int = 2, **options: Unpack[UpscaleOptions]) -> Run:
        """Enlarge its picture, as a new run."""
        return self._drawing.upscale(self, scale, **options)

    def variations(
        self, count: int = 1, strength: float | None = None, **options: Unpack[VariationsOptions]
    ) -> list[Run]:
        """Draw pictures like its own, as new runs."""
        return self._drawing.variations(self, count, strength, **options)

    @property
    def _max_retries(self) -> int:
        return self._transport.policy.max_retries

    @property
    def _path(self) -> str:
        return f"/v1/generations/{self.id}"

    def _seen(self, generation: Generation) -> Generation:
        self.generation = generation
        return generation

    def _followed(self, deadline: float) -> bool:
        """Whether it is over before the deadline."""
        resumption = Resumption(None, self._max_retries, polls_instead=True)
        try:
            with closing(self._events(resumption, deadline=deadline)) as found:
                for event in found:
                    if event.is_over:
                        return True
                    if time.monotonic() > deadline:
                        return False
        except errors.TooManyStreamsError:
            return self._polled(deadline)
        return self.generation is not None and self.generation.status in OVER

    def _polled(self, deadline: float) -> bool:
        while (self.refresh()).status not in OVER:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            sleep(min(_POLL_S, left_s))
        return True

    def _given_up(self, timeout_s: float | None, cancel: bool) -> None:
        if cancel and (self.cancel()).status == "completed":
            return  # it was faster
        said = "it was told to stop" if cancel else "it goes on"
        raise errors.WaitTimeoutError(f"{self.id} is not over after {timeout_s} s; {said}.", canceled=cancel)

    def _events(self, resumption: Resumption, *, previews: bool = False, deadline: float = math.inf) -> Events:
        while True:
            problem: Exception = errors.ConnectionFailedError(f"The events of {self.id} ended before it was over.")
            try:
                with closing(self._connection(resumption, previews, deadline)) as found:
                    for event in found:
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
            sleep(min(pause_s, left_s))
            if pause_s >= left_s:
                return

    def _connection(self, resumption: Resumption, previews: bool, deadline: float) -> Events:
        """The events of one connection."""
        query = {"previews": "true"} if previews else {}
        call = Call("GET", f"{self._path}/events", type(None), query=query, headers=resumption.headers)
        silence_s = min(SILENCE_S, max(0.05, deadline - time.monotonic()))
        parser = EventParser()
        with self._transport.stream(call, silence_s=silence_s) as response:
            if response.status_code == 204:
                resumption.is_told_all = True
                return
            for content in response.iter_bytes():
                for event in parser.feed(content):
                    resumption.note(event)
                    if event.generation is not None:
                        self._seen(event.generation)
                    yield event
                resumption.retry_s = resumption.retry_s if parser.retry_s is None else parser.retry_s
