"""Server-sent events for tests: taking them apart, and one stream through ASGI that is read at the test's own pace."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.support.deadlines import SURELY_S


def taken_apart(block: str) -> dict[str, Any]:
    """The fields of one block; a comment stands under the empty name, and `data` is decoded."""
    fields: dict[str, Any] = {}
    for line in filter(None, block.splitlines()):
        name, _, value = line.partition(":")
        fields[name] = value.removeprefix(" ")
    if "data" in fields:
        fields["data"] = json.loads(fields["data"])
    return fields


class AsgiStream:
    """A GET that holds one unread piece at most: whoever sends more waits, as behind a client that does not read."""

    def __init__(self, app: Any, path: str, headers: dict[str, str], *, method: str = "GET", query: str = "") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._gone = asyncio.Event()
        self._is_asked = False
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
        scope |= {"scheme": "http", "server": ("gateway", 80)}
        self.answering = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        if message["body"]:
            await self._pieces.put(message["body"])
        if not message.get("more_body"):
            await self._pieces.put(None)

    async def next(self) -> dict[str, Any] | None:
        """The next block; None at the end."""
        async with asyncio.timeout(SURELY_S):
            piece = await self._pieces.get()
        return None if piece is None else taken_apart(piece.decode())

    async def events(self, count: int) -> list[dict[str, Any]]:
        """So many events; what tells only of the connection is passed over."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            block = await self.next()
            assert block is not None, f"the stream ended after {len(found)} events"
            if "event" in block:
                found.append(block)
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """All blocks until the end."""
        found: list[dict[str, Any]] = []
        while (block := await self.next()) is not None:
            found.append(block)
        return found

    async def leave(self) -> None:
        """Go, as a client that closes its connection."""
        self._gone.set()
        while not self._pieces.empty():
            self._pieces.get_nowait()
        async with asyncio.timeout(SURELY_S):
            await self.answering
