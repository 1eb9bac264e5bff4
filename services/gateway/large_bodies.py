"""Room for bodies that are read whole into memory and are not small: only so many at once, and only for so long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from imagineo.deadline import within
from starlette.datastructures import Headers

from services.gateway.credentials import presented

READ_TIMEOUT_S: Final = 30.0
_READING_AT_ONCE: Final = 8


class LargeBodies:
    """The places of one gateway. Use it from one event loop."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_READING_AT_ONCE)

    @contextlib.asynccontextmanager
    async def reading(self, headers: Headers) -> AsyncIterator[None]:
        """Room for one body; a stranger's is not even read.

        Raises:
            MissingApiKey, InvalidApiKey, InvalidSession: if the headers show nothing that could be a key or a session.
            Unavailable: if there is no room in time, or the block takes too long.
        """
        presented(headers, "GET")  # whether a session may change something is looked at with who it is
        async with within(READ_TIMEOUT_S), self._room:
            yield
