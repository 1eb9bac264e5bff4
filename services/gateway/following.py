"""Follows runs: one watch of status for each run, shared by all who read that run here.

A reader holds the newest version only, so a slow one skips what is past and holds up nobody; it is ended once its
holder may not read any more. A watch that breaks is begun again: status restarts, and will be back. Previews are asked
for while a run that somebody wants to see is running; of them too a reader holds the newest only. Use it from one event
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import grpc
from imagineo import errors
from imagineo.broker.port import Broker
from imagineo.jobs.states import TERMINAL
from imagineo.rpc.client import request_metadata
from imagineo.rpc.status import error_of
from imagineo.v1 import event_pb2, generation_pb2, generation_service_pb2

from services.gateway.exchange import Holder
from services.gateway.peers import CALL_TIMEOUT_S, Peers
from services.gateway.previewing import Previewing
from services.gateway.vigil import Vigil

#: A watch is asked for anew after so long, so that none outlives a peer that forgot it.
WATCH_S: Final = 600.0
_WATCH_AGAIN_S: Final = 0.2

#: One account may hold this part of the streams that are open to all.
_ACCOUNT_SHARE: Final = 2

_RETRY_AFTER_S: Final = 5.0

Key = tuple[str, str]
"""Organization and run."""


class Reader:
    """One reader of one run."""

    def __init__(
        self, following: Following, holder: Holder, run_id: str, *, is_counted: bool, wants_previews: bool = False
    ) -> None:
        self.holder = holder
        self.organization_id = holder.organization_id
        self.run_id = run_id
        self.is_counted = is_counted
        self.wants_previews = wants_previews
        self.is_refused = False
        """Its holder may not read any more; `next` says why."""
        self.is_ended = False
        """No more will come: the gateway drains, the reader's client has left, or the run is gone."""
        self._following = following
        self._latest: generation_pb2.Generation | None = None
        self._preview: event_pb2.Preview | None = None
        self._failure: errors.ImagineoError | None = None
        self._news = asyncio.Event()

    async def next(self, timeout_s: float) -> generation_pb2.Generation | None:
        """The newest version that was not read before; None: none came in time, the reader is ended, or has a preview.

        Raises:
            Refused: what status says to the watch, such as `NotFound`.
        """
        if self._latest is None and self._preview is None and self._failure is None and not self.is_ended:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        latest, self._latest = self._latest, None
        if latest is None and self._failure is not None:
            raise self._failure
        return latest

    def put(self, generation: generation_pb2.Generation) -> None:
        """Show a version; it takes the place of one that was not read yet."""
        if self._failure is None:
            self._latest = generation
            self._news.set()

    def take_preview(self) -> event_pb2.Preview | None:
        """The newest preview that was not taken before, if any."""
        preview, self._preview = self._preview, None
        return preview

    def put_preview(self, preview: event_pb2.Preview) -> None:
        """Show a preview; it takes the place of one that was not taken yet."""
        if self._failure is None:
            self._preview = preview
            self._news.set()

    def fail(self, failure: errors.ImagineoError) -> None:
        """End with a failure, after what was not read yet."""
        self._failure = failure
        self._news.set()

    def refuse(self, refusal: errors.ImagineoError) -> None:
        """End with a refusal at once: what was not read yet is not shown any more."""
        self.is_refused = True
        self._latest = self._preview = None
        self.fail(refusal)

    def end(self) -> None:
        """End it: `next` answers at once."""
        self.is_ended = True
        self._news.set()

    def leave(self) -> None:
        """Read no more; the last one to leave a run ends its watch. Idempotent."""
        self._following.leave(self)


class _Feed:
    """The one watch of a run and its readers."""

    watching: asyncio.Task[None]

    def __init__(self) -> None:
        self.readers: set[Reader] = set()
        self.latest: generation_pb2.Generation | None = None
        self.previewing: Previewing | None = None

    @property
    def viewers(self) -> list[Reader]:
        """The readers that want previews."""
        return [reader for reader in self.readers if reader.wants_previews]

    def show(self, preview: event_pb2.Preview) -> None:
        """Show a preview to those who want them."""
        for reader in self.viewers:
            reader.put_preview(preview)

    def tell(self, generation: generation_pb2.Generation) -> None:
        if self.latest is not None and generation.version <= self.latest.version:
            return
        self.latest = generation
        if self.previewing is not None:
            self.previewing.note(generation.status)
        for reader in self.readers:
            reader.put(generation)


class Following:
    """The readers of all runs. `max_streams_count` bounds those that hold a client's connection open."""

    def __init__(self, peers: Peers, broker: Broker, vigil: Vigil, *, max_streams_count: int) -> None:
        self._peers = peers
        self._broker = broker
        self._vigil = vigil
        self._max_streams_count = max_streams_count
        self._feeds: dict[Key, _Feed] = {}
        self._feed_of: dict[Reader, _Feed] = {}
        self._releases: dict[Reader, Callable[[], None]] = {}
        self._streams: Counter[str] = Counter()
        self._is_ending = False

    @property
    def watches_count(self) -> int:
        """How many runs are watched."""
        return len(self._feeds)

    def stream(self, holder: Holder, run_id: str, *, wants_previews: bool = False) -> Reader:
        """A reader for a client's stream; call its `leave` in the end.

        Raises:
            TooManyStreams: if the gateway, or the account here, has as many open as it may.
        """
        share, organization_id = max(1, self._max_streams_count // _ACCOUNT_SHARE), holder.organization_id
        if self._streams.total() >= self._max_streams_count or self._streams[organization_id] >= share:
            raise errors.TooManyStreams(metadata={"limit": str(share)}, retry_after_s=_RETRY_AFTER_S)
        self._streams[organization_id] += 1
        return self._join(Reader(self, holder, run_id, is_counted=True, wants_previews=wants_previews))

    async def settled(
        self, holder: Holder, run_id: str, wait_s: float, *, tells_refusal: bool = False
    ) -> generation_pb2.Generation | None:
        """The run once terminal, or as it stands after `wait_s` seconds, at a drain, or once the holder is refused.

        None: nothing was learnt.

        Raises:
            Refused: with `tells_refusal`, once the holder is.
        """
        reader = self._join(Reader(self, holder, run_id, is_counted=False))
        latest: generation_pb2.Generation | None = None
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        try:
            while latest is None or latest.status not in TERMINAL:
                latest = await reader.next(until_s - loop.time()) or latest
                if reader.is_ended or loop.time() >= until_s:
                    break
        except errors.ImagineoError:
            if tells_refusal and reader.is_refused:
                raise
            return latest  # the run is accepted: a watch that fails takes nothing from it
        finally:
            reader.leave()
        return latest

    def end(self) -> None:
        """End all readers, and those to come: the gateway drains."""
        self._is_ending = True
        for reader in self._feed_of:
            reader.end()

    def leave(self, reader: Reader) -> None:
        """See `Reader.leave`."""
        feed = self._feed_of.pop(reader, None)
        if feed is None:
            return
        feed.readers.discard(reader)
        self._releases.pop(reader)()
        if reader.is_counted:
            self._streams[reader.organization_id] -= 1
            if not self._streams[reader.organization_id]:
                del self._streams[reader.organization_id]
        if feed.previewing is not None and not feed.viewers:
            feed.previewing.end()
            feed.previewing = None
        if not feed.readers:
            self._forget((reader.organization_id, reader.run_id), feed)
            feed.watching.cancel()

    def _join(self, reader: Reader) -> Reader:
        key = (reader.organization_id, reader.run_id)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = _Feed()
            feed.watching = asyncio.create_task(self._watch(key, feed))
        self._feed_of[reader] = feed
        feed.readers.add(reader)
        self._releases[reader] = self._vigil.keep(reader.holder, reader.refuse)
        if reader.wants_previews and feed.previewing is None:
            feed.previewing = Previewing(self._broker, reader.run_id, feed.show)
            if feed.latest is not None:
                feed.previewing.note(feed.latest.status)
        if feed.latest is not None:
            reader.put(feed.latest)
        if self._is_ending:
            reader.end()
        return reader

    def _forget(self, key: Key, feed: _Feed) -> None:
        if self._feeds.get(key) is feed:
            del self._feeds[key]

    async def _watch(self, key: Key, feed: _Feed) -> None:
        """Tell the readers each version until the terminal one, or what status refuses with."""
        while feed.latest is None or feed.latest.status not in TERMINAL:
            try:
                await self._watch_once(key, feed)
            except errors.Unavailable:
                pass
            except errors.ImagineoError as failure:
                self._forget(key, feed)  # who comes later asks status anew
                for reader in feed.readers:
                    reader.fail(failure)
                return
            await asyncio.sleep(_WATCH_AGAIN_S)

    async def _watch_once(self, key: Key, feed: _Feed) -> None:
        organization_id, run_id = key
        names = generation_service_pb2.WatchGenerationRequest(organization_id=organization_id, run_id=run_id)
        changes: Any = self._peers.status.WatchGeneration(names, timeout=WATCH_S, metadata=request_metadata())
        try:
            async for change in changes:
                feed.tell(change.generation)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure
        finally:
            changes.cancel()


async def first_of(reader: Reader) -> generation_pb2.Generation:
    """The run as it stands when a reader joins.

    Raises:
        Refused: what status says.
        Unavailable: if it did not say in time.
    """
    first = await reader.next(CALL_TIMEOUT_S)
    if first is None:
        raise errors.Unavailable
    return first
