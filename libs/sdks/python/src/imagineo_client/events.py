"""Server-sent events: the parser, what a run's events become, and the rule for coming back. Pure.

Source: HTML Living Standard, section 9.2.6.
"""

from __future__ import annotations

import base64
import binascii
import random
from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import dataclass, field

from imagineo_client import errors
from imagineo_client.answering import decoded
from imagineo_client.pictures import Picture
from imagineo_client.retries import LONGEST_WAIT_S, Repeats, may_repeat
from imagineo_client.types.answers import Generation, Preview

#: The server sends a comment every 15 s; who hears nothing for three of them is cut off.
SILENCE_S = 45.0
_LONGEST_PAUSE_S = 10.0
#: An event is far smaller; a stream that goes on without a line's end is none.
_LONGEST_LINE_BYTES = 4 * 1024 * 1024
OVER = frozenset({"completed", "failed", "canceled", "expired"})


@dataclass(frozen=True)
class RunEvent:
    """One event of a run: `snapshot`, `status` and `progress` carry the generation, `preview` a small picture."""

    id: str | None
    type: str
    generation: Generation | None
    preview: Picture | None = None
    step: int | None = None
    steps: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is the last."""
        return self.generation is not None and self.generation.status in OVER


@dataclass
class EventParser:
    """Takes the bytes of one connection and gives its events; a new connection needs a new one."""

    retry_s: float | None = None
    _rest: bytes = b""
    _fields: dict[str, str] = field(default_factory=dict)

    def feed(self, content: bytes) -> Iterator[RunEvent]:
        """The events that are whole now."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            raise errors.UnexpectedAnswerError("The event stream holds a line that does not end.")
        for line in lines:
            if event := self._take(line.removesuffix(b"\r").decode(errors="replace")):
                yield event

    def _take(self, line: str) -> RunEvent | None:
        if not line:
            fields, self._fields = self._fields, {}
            return _event(fields) if "data" in fields else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "retry" and value.isdigit():
            self.retry_s = int(value) / 1000
        elif name == "data" and "data" in self._fields:
            self._fields["data"] += "\n" + value
        elif name:
            self._fields[name] = value
        return None


def _event(fields: dict[str, str]) -> RunEvent | None:
    kind, data, where = fields.get("event", "message"), fields["data"].encode(), "the event stream"
    if kind == "preview":
        told = decoded(data, Preview, where)
        try:
            picture = Picture(base64.b64decode(told.image.partition(",")[2], validate=True))
        except binascii.Error as problem:
            raise errors.UnexpectedAnswerError(f"A preview cannot be read: {problem}.") from problem
        return RunEvent(None, kind, None, picture, told.step, told.steps)
    if kind in ("snapshot", "status", "progress"):
        return RunEvent(fields.get("id"), kind, decoded(data, Generation, where))
    return None  # a newer server's


#: A run's events as they come; closing it closes the connection.
AsyncEvents = AsyncGenerator[RunEvent, None]
Events = Generator[RunEvent, None, None]


@dataclass
class Resumption:
    """Where a cut stream goes on, and when."""

    last_event_id: str | None
    max_retries: int
    retry_s: float = 2.0
    polls_instead: bool = False
    is_told_all: bool = False
    _failures: int = 0

    def note(self, event: RunEvent) -> None:
        """An event has come: the connection is good."""
        self._failures = 0
        self.last_event_id = event.id or self.last_event_id

    def pause_s(self, problem: Exception) -> float | None:
        """How long to wait before coming back; None: it has failed too often, or in vain."""
        self._failures += 1
        if self._failures > self.max_retries or not may_repeat(problem, Repeats.FREELY):
            return None
        if self.polls_instead and isinstance(problem, errors.TooManyStreamsError):
            return None
        told_s = problem.retry_after_s if isinstance(problem, errors.ApiError) else None
        if told_s is not None:
            return told_s if told_s <= LONGEST_WAIT_S else None
        whole_s = min(_LONGEST_PAUSE_S, self.retry_s * 2.0 ** (self._failures - 1))
        return whole_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    @property
    def headers(self) -> dict[str, str]:
        """What the next request says."""
        return {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
