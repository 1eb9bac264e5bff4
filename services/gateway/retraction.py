"""Undoes what a refused submit leaves behind: a reserved image, or a run that may have been accepted without an answer.

All of it runs aside and may be lost with the process: auth's sweeper gives back what is held too long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from imagineo import errors
from imagineo.rpc.coalesce import Coalescer
from imagineo.v1 import auth_service_pb2, batch_service_pb2, generation_service_pb2

from services.gateway.background import Background
from services.gateway.peers import Peers

log = logging.getLogger(__name__)

_RELEASE_DELAYS_S: Final = (0.0, 0.5, 2.0, 8.0)

#: The first look comes after every transaction of the unanswered call has ended one way or the other.
_RETRACT_DELAYS_S: Final = (2.5, 5.0, 10.0, 20.0)

#: The acceptance of a batch takes longer.
_RETRACT_BATCH_DELAYS_S: Final = (8.0, 10.0, 20.0, 40.0)

#: Auth takes at most a thousand; each settles in a fraction of its statement's time.
_RELEASED_AT_ONCE: Final = 250


class Retraction:
    """Gives back what a submit took."""

    def __init__(
        self,
        peers: Peers,
        background: Background,
        *,
        release_delays_s: Sequence[float] = _RELEASE_DELAYS_S,
        retract_delays_s: Sequence[float] = _RETRACT_DELAYS_S,
        retract_batch_delays_s: Sequence[float] = _RETRACT_BATCH_DELAYS_S,
    ) -> None:
        self._peers = peers
        self._background = background
        self._release_delays_s = release_delays_s
        self._retract_delays_s = retract_delays_s
        self._retract_batch_delays_s = retract_batch_delays_s
        self._run_ids: Coalescer[str, None] = Coalescer(self._release_all, max_items=512, max_in_flight=1)

    def release(self, run_id: str) -> None:
        """Give back the image reserved for a run that was not accepted."""
        self._background.start(self._release(run_id))

    def release_all(self, run_ids: Sequence[str]) -> None:
        """Give back the images reserved for the items of a batch that was not accepted."""
        if run_ids:
            self._background.start(self._release_many(run_ids))

    def retract_batch(
        self, organization_id: str, batch_id: str, run_ids: Sequence[str], *, keep_if_accepted: bool
    ) -> None:
        """Settle a batch whose acceptance was not answered, as `retract` does a run."""
        self._background.start(self._retract_batch(organization_id, batch_id, run_ids, keep_if_accepted))

    def retract(self, organization_id: str, run_id: str, *, keep_if_accepted: bool) -> None:
        """Settle a run whose acceptance was not answered.

        If it was accepted after all it is canceled, because its client was told that it was not; unless
        `keep_if_accepted`: a client with an idempotency key comes back for it. If it was not, its image is released.
        """
        self._background.start(self._retract(organization_id, run_id, keep_if_accepted, self._retract_delays_s))

    def withdraw(self, organization_id: str, run_id: str) -> None:
        """Cancel an accepted run that nobody waits for any more."""
        self._background.start(self._retract(organization_id, run_id, False, self._release_delays_s))

    async def _release(self, run_id: str) -> None:
        for delay_s in self._release_delays_s:
            await asyncio.sleep(delay_s)
            try:
                return await self._run_ids.submit(run_id)
            except errors.Unavailable:
                continue
        log.warning("a reservation is left to the sweeper", extra={"run_id": run_id})
        return None

    async def _release_many(self, run_ids: Sequence[str]) -> None:
        for delay_s in self._release_delays_s:
            await asyncio.sleep(delay_s)
            try:
                for start in range(0, len(run_ids), _RELEASED_AT_ONCE):
                    await self._release_all(list(run_ids[start : start + _RELEASED_AT_ONCE]))
            except errors.Unavailable:
                continue
            return
        log.warning("the reservations of a batch are left to the sweeper")

    async def _retract_batch(
        self, organization_id: str, batch_id: str, run_ids: Sequence[str], keep_if_accepted: bool
    ) -> None:
        names = {"organization_id": organization_id, "batch_id": batch_id}
        for delay_s in self._retract_batch_delays_s:
            await asyncio.sleep(delay_s)
            try:
                if keep_if_accepted:
                    await self._peers.ask(self._peers.batches.GetBatch, batch_service_pb2.GetBatchRequest(**names))
                else:
                    cancel = batch_service_pb2.CancelBatchRequest(**names)
                    await self._peers.ask(self._peers.batches.CancelBatch, cancel)
            except errors.Unavailable:
                continue
            except errors.NotFound:
                await self._release_many(run_ids)
            return
        log.warning("an unanswered batch is left to the sweeper", extra={"batch_id": batch_id})

    async def _release_all(self, run_ids: list[str]) -> Sequence[None]:
        request = auth_service_pb2.ReleaseReservationsRequest(run_ids=run_ids)
        await self._peers.ask(self._peers.auth.ReleaseReservations, request)
        return [None] * len(run_ids)

    async def _retract(
        self, organization_id: str, run_id: str, keep_if_accepted: bool, delays_s: Sequence[float]
    ) -> None:
        names = {"organization_id": organization_id, "run_id": run_id}
        for delay_s in delays_s:
            await asyncio.sleep(delay_s)
            try:
                if keep_if_accepted:
                    request = generation_service_pb2.GetGenerationRequest(**names)
                    await self._peers.ask(self._peers.status.GetGeneration, request)
                else:
                    cancel = generation_service_pb2.CancelGenerationRequest(**names)
                    await self._peers.ask(self._peers.status.CancelGeneration, cancel)
            except errors.Unavailable:
                continue
            except errors.NotFound:
                await self._release(run_id)
            return
        log.warning("an unanswered acceptance is left to the sweeper", extra={"run_id": run_id})
