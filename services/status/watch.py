"""Tells watchers of changes: own ones and, by hints on the broker, those of the other replicas."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from google.protobuf.message import DecodeError
from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.errors import ImagineoError
from imagineo.ids import new_id
from imagineo.jobs.states import TERMINAL
from imagineo.v1 import event_pb2

from services.status.generations import Generation

Read = Callable[[list[str]], Awaitable[dict[str, Generation]]]
Find = Callable[[str], Awaitable[Generation | None]]

_BATCH = 256
#: Hints are lossy: a watcher looks for itself where it heard nothing for so long.
LOOK_S = 2.0


class _Mailbox:
    """Holds the newest version only: a slow watcher skips what is past."""

    def __init__(self) -> None:
        self.latest: Generation | None = None
        self.filled = asyncio.Event()

    def put(self, generation: Generation) -> None:
        if self.latest is None or generation.version > self.latest.version:
            self.latest = generation
            self.filled.set()


class Watch:
    """Fans changes out. `changed` is called after a commit, from the event loop."""

    def __init__(self, read: Read, find: Find, broker: Broker) -> None:
        self._read, self._find = read, find
        self._broker = broker
        self._dirty: set[str] = set()
        self._news = asyncio.Event()
        self._mailboxes: dict[str, set[_Mailbox]] = {}

    def changed(self, run_id: str) -> None:
        """Note that a run changed; watchers hear of it in a moment."""
        self._dirty.add(run_id)
        self._news.set()

    async def run(self) -> None:
        """Tell changes, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._dirty:
                batch = [self._dirty.pop() for _ in range(min(_BATCH, len(self._dirty)))]
                with contextlib.suppress(ImagineoError):  # watchers look for themselves
                    await self._tell(batch)

    async def hear(self, subject: str, body: bytes) -> None:
        """Take another replica's hint; most are of runs that nobody watches here."""
        if subject.rpartition(".")[2] not in self._mailboxes:
            return
        with contextlib.suppress(DecodeError):
            self._deliver(event_pb2.GenerationChanged.FromString(body).generation)

    async def watch(self, run_id: str) -> AsyncIterator[Generation]:
        """Give the run as it stands, then each newer version that can be had, and end after the terminal one."""
        with self._mailbox(run_id) as mailbox:
            seen = 0
            while True:
                if mailbox.latest is None or mailbox.latest.version <= seen:
                    found = await self._find(run_id)
                    if found is None:
                        return
                    mailbox.put(found)
                mailbox.filled.clear()
                latest = mailbox.latest
                if latest is not None and latest.version > seen:
                    seen = latest.version
                    yield latest
                    if latest.status in TERMINAL:
                        return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await mailbox.filled.wait()

    async def _tell(self, run_ids: list[str]) -> None:
        found = await self._read(run_ids)
        for run_id in set(run_ids) - found.keys():  # deleted: who watches looks, and ends
            for mailbox in self._mailboxes.get(run_id, ()):
                mailbox.filled.set()
        for run_id, generation in found.items():
            self._deliver(generation)
            change = event_pb2.GenerationChanged(event_id=new_id("evt"), generation=generation)
            change.occurred_at.GetCurrentTime()
            await self._broker.emit(subjects.change(run_id), change.SerializeToString())

    def _deliver(self, generation: Generation) -> None:
        for mailbox in self._mailboxes.get(generation.run_id, ()):
            mailbox.put(generation)

    @contextlib.contextmanager
    def _mailbox(self, run_id: str) -> Iterator[_Mailbox]:
        mailbox = _Mailbox()
        self._mailboxes.setdefault(run_id, set()).add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes[run_id].discard(mailbox)
            if not self._mailboxes[run_id]:
                del self._mailboxes[run_id]
