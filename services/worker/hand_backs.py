"""What a worker that ends leaves of a run, in the store, so that the next one goes on with it.

Nothing depends on it: a state that was not saved, is gone or cannot be read costs the steps made so far. It lies beside
the run's images, looked up where a run is claimed anew, and deleted when the run ends; what is missed by that goes with
the run's images.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from imagineo.blobs.port import Blobs
from imagineo.errors import ImagineoError, NotFound
from imagineo.v1 import job_pb2

log = logging.getLogger(__name__)

#: Less than a worker has to hand its runs back.
_SAVE_TIMEOUT_S: Final = 2.0
_LOAD_TIMEOUT_S: Final = 5.0


class HandBacks:
    """The states of runs that were handed back."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def save(self, job: job_pb2.Job, state: bytes) -> None:
        """Keep the state of a run, if it can be done in time."""
        try:
            async with asyncio.timeout(_SAVE_TIMEOUT_S):
                await self._blobs.put(_key(job), state, content_type="application/octet-stream")
        except (ImagineoError, TimeoutError) as problem:
            log.warning("the state of a run was not saved; it is drawn anew: %s", problem)

    async def load(self, job: job_pb2.Job) -> bytes | None:
        """The state of a run, if there is one."""
        try:
            async with asyncio.timeout(_LOAD_TIMEOUT_S):
                return await self._blobs.get(_key(job))
        except NotFound:
            return None
        except (ImagineoError, TimeoutError) as problem:
            log.warning("the state of a run was not read; it is drawn anew: %s", problem)
            return None

    async def delete(self, job: job_pb2.Job) -> None:
        """Forget the state of a run that ended."""
        try:
            await self._blobs.delete(_key(job))
        except ImagineoError as problem:
            log.warning("the state of a run that ended was not deleted: %s", problem)


def _key(job: job_pb2.Job) -> str:
    return f"images/{job.organization_id}/{job.run_id}/state"
