"""Claims and what keeps them: one task renews all leases of this worker and extends their deliveries every 2.5 s.

A renewal that is not answered changes nothing: as long as `status` is away nobody else can claim the run, and what we
say at the end is fenced by the attempt. Word of a cancel comes by a hint at once, or by the next renewal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from imagineo.broker.port import Delivery
from imagineo.errors import ImagineoError
from imagineo.rpc.client import call
from imagineo.v1 import event_pb2
from imagineo.v1 import generation_service_pb2 as generations

from services.worker.engine.base import StopReason, StopSignal

log = logging.getLogger(__name__)

#: Less than a third of the lease and of the delivery's time.
RENEW_INTERVAL_S: Final = 2.5
_CALL_TIMEOUT_S: Final = 2.0

_STOPS: Final = {
    generations.LEASE_VERDICT_CANCEL: StopReason.CANCELED,
    generations.LEASE_VERDICT_LOST: StopReason.LOST,
}


@dataclass(frozen=True, slots=True)
class _Held:
    attempt: int
    delivery: Delivery
    stop: StopSignal


class LeaseKeeper:
    """All claims of this worker."""

    def __init__(self, stub: Any, worker_id: str, incarnation: str, *, interval_s: float = RENEW_INTERVAL_S) -> None:
        self._stub = stub
        self._worker_id = worker_id
        self._incarnation = incarnation
        self._interval_s = interval_s
        self._held: dict[str, _Held] = {}

    @property
    def run_ids(self) -> list[str]:
        """The runs that are held now."""
        return list(self._held)

    async def claim(self, run_id: str) -> generations.ClaimResponse:
        """Ask for a run.

        Raises:
            ImagineoError: if it could not be asked.
        """
        request = generations.ClaimRequest(run_id=run_id, worker_id=self._worker_id, incarnation=self._incarnation)
        response: generations.ClaimResponse = await call(self._stub.Claim, request, timeout_s=_CALL_TIMEOUT_S)
        return response

    @contextlib.contextmanager
    def hold(self, run_id: str, attempt: int, delivery: Delivery, stop: StopSignal) -> Iterator[None]:
        """Keep a granted claim while the block runs."""
        self._held[run_id] = _Held(attempt, delivery, stop)
        try:
            yield
        finally:
            self._held.pop(run_id, None)

    async def keep(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._renew()
            except ImagineoError as problem:
                log.warning("leases not renewed: %s", problem)
            except Exception:
                log.exception("leases not renewed")

    async def on_cancel(self, _subject: str, body: bytes) -> None:
        """Handle a `CancelRun` hint."""
        with contextlib.suppress(DecodeError):
            held = self._held.get(event_pb2.CancelRun.FromString(body).run_id)
            if held is not None:
                held.stop.set(StopReason.CANCELED)

    def stop_all(self, reason: StopReason) -> None:
        """Ask every run to stop at its next step."""
        for held in self._held.values():
            held.stop.set(reason)

    async def _renew(self) -> None:
        held = dict(self._held)
        if not held:
            return
        await asyncio.gather(*(one.delivery.in_progress() for one in held.values()), return_exceptions=True)
        leases = [generations.Lease(run_id=run_id, attempt=one.attempt) for run_id, one in held.items()]
        request = generations.RenewLeasesRequest(worker_id=self._worker_id, leases=leases)
        answer = await call(self._stub.RenewLeases, request, timeout_s=_CALL_TIMEOUT_S)
        for one, verdict in zip(held.values(), answer.verdicts, strict=True):
            if verdict in _STOPS:
                one.stop.set(_STOPS[verdict])
