"""How the worker ends: no new runs; those in hand finish if they can in time, else they are handed back.

The first SIGTERM begins it; a second one skips the waiting. A run that is handed back stops at its next step, is told
as QUEUED (no attempt lost) and its job comes again at once, elsewhere or here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from services.worker.engine.base import StopReason
from services.worker.intake import Intake
from services.worker.lease import LeaseKeeper

log = logging.getLogger(__name__)

#: How long a hand-back may take: one step, one publish, one nak.
HAND_BACK_S: Final = 5.0


async def drain(intake: Intake, leases: LeaseKeeper, *, grace_s: float, hurry: asyncio.Event) -> None:
    """Bring the runs in hand to an end; the pulling has stopped already."""
    waiting = asyncio.ensure_future(intake.wait_idle(grace_s))
    hurrying = asyncio.ensure_future(hurry.wait())
    await asyncio.wait({waiting, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if waiting.done() and waiting.result():
        return
    waiting.cancel()
    log.info("handing back %d runs", len(leases.run_ids))
    leases.stop_all(StopReason.DRAINING)
    if not await intake.wait_idle(HAND_BACK_S):
        log.warning("runs did not stop in time; their jobs come again when their leases end")
        intake.abandon()
        await intake.wait_idle(1.0)
