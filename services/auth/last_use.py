"""When keys were last used, to the minute: noted in memory, written now and then; a minute may be lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from imagineo import errors

log = logging.getLogger(__name__)

#: How often what was noted is written.
FLUSH_INTERVAL_S: Final = 5.0


class LastUse:
    """Notes uses and forgets them once they are written. Use it from one event loop."""

    def __init__(self) -> None:
        self._pending: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}

    def note(self, key_ids: Iterable[str], now: datetime) -> None:
        """Note that keys were used; cheap, called for each batch of checks."""
        minute = now.replace(second=0, microsecond=0)
        for key_id in key_ids:
            if self._written.get(key_id) != minute:
                self._pending[key_id] = minute

    async def flush(self, write: Callable[[Mapping[str, datetime]], Awaitable[None]]) -> None:
        """Write what is noted; what cannot be written stays noted.

        Raises:
            Unavailable: if the database is away.
        """
        pending = dict(self._pending)
        if not pending:
            return
        await write(pending)
        self._pending = {key_id: minute for key_id, minute in self._pending.items() if pending.get(key_id) != minute}
        latest = max(pending.values())
        self._written = {key_id: minute for key_id, minute in (self._written | pending).items() if minute >= latest}

    async def run(self, write: Callable[[Mapping[str, datetime]], Awaitable[None]]) -> None:
        """Flush for ever."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            try:
                await self.flush(write)
            except errors.Unavailable:
                log.info("the last uses of keys wait for the database")
