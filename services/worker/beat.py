"""The worker's sign of life, every two seconds on core NATS, and the gauges that are read as often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.v1 import event_pb2

log = logging.getLogger(__name__)

INTERVAL_S: Final = 2.0


async def beat(broker: Broker, worker_id: str, describe: Callable[[], event_pb2.WorkerBeat]) -> None:
    """Send what `describe` says until cancelled; a beat that is lost is followed by the next."""
    while True:
        try:
            await broker.emit(subjects.worker(worker_id), describe().SerializeToString())
        except Exception:
            log.exception("a beat was not sent")
        await asyncio.sleep(INTERVAL_S)
