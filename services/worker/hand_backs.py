"""What a worker that ends leaves of a run, in the store, so that the next one goes on with it.

Nothing depends on it: a state that was not saved, is gone or cannot be read costs the steps made so far. It is found by
the run's id, looked up where a run is claimed anew, and deleted when the run ends.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from imagineo.blobs.port import Blobs
from imagineo.errors import ImagineoError, NotFound

log = logging.getLogger(__name__)

#: Less than a worker has to hand its runs back.
_SAVE_TIMEOUT_S: Final = 2.0
_LOAD_TIMEOUT_S: Final = 5.0


class HandBacks:
    """The states of runs that were handed back."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def save(self, run_id: str, state: bytes) -> None:
        """Keep the state of a run, if it can be done in time."""
        try:
            async with asyncio.timeout(_SAVE_TIMEOUT_S):
                await self._blobs.put(_key(run_id), state, content_type="application/octet-stream")
        except (ImagineoError, TimeoutError) as problem:
            log.warning("the state of a run was not saved; it is drawn anew: %s", problem)

    async def load(self, run_id: str) -> bytes | None:
        """The state of a run, if there is one."""
        try:
            async with asyncio.timeout(_LOAD_TIMEOUT_S):
                return await self._blobs.get(_key(run_id))
        except NotFound:
            return None
        except (ImagineoError, TimeoutError) as problem:
            log.warning("the state of a run was not read; it is drawn anew: %s", problem)
            return None

    async def delete(self, run_id: str) -> None:
        """Forget the state of a run that ended."""
        try:
            await self._blobs.delete(_key(run_id))
        except ImagineoError as problem:
            log.warning("the state of a run that ended was not deleted: %s", problem)


def _key(run_id: str) -> str:
    return f"handback/{run_id}"
