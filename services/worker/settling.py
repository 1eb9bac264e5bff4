"""The last words about a delivery: its outcome, published until the broker takes it, and its ack, nak or term."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from imagineo.broker import subjects
from imagineo.broker.port import Broker, Delivery
from imagineo.errors import Unavailable
from imagineo.v1 import event_pb2

from services.worker import metrics
from services.worker.outcome import Ending, Settle

_RETRY_S = (0.1, 0.25, 0.5, 1.0)
_ACK_TRIES = 5


async def publish_outcome(broker: Broker, message: event_pb2.Outcome, *, is_lost: Callable[[], bool]) -> bool:
    """Publish an outcome until it is taken; False if the lease was lost before."""
    message_id = f"{message.run_id}.{message.attempt}"
    for pause_s in _pauses():
        try:
            await broker.publish_outcome(
                subjects.outcome(message.run_id), message.SerializeToString(), message_id=message_id
            )
        except Unavailable:
            if is_lost():
                return False
            await asyncio.sleep(pause_s)
        else:
            break
    return True


async def settle(delivery: Delivery, ending: Ending) -> Ending:
    """Do with a delivery what its ending says."""
    metrics.RUNS.labels(ending.name).inc()
    # What is not settled for lack of a broker comes again, and its claim says then what is left to do.
    with contextlib.suppress(Unavailable):
        match ending.settle:
            case Settle.ACK:
                await _ack(delivery)
            case Settle.NAK:
                await delivery.nak(ending.delay_s)
            case Settle.TERM:
                await delivery.term()
            case Settle.LEAVE:
                pass
    return ending


async def _ack(delivery: Delivery) -> None:
    for pause_s, _ in zip(_pauses(), range(_ACK_TRIES), strict=False):
        try:
            return await delivery.ack()
        except Unavailable:
            await asyncio.sleep(pause_s)
    return None


def _pauses() -> Iterator[float]:
    yield from _RETRY_S
    while True:
        yield _RETRY_S[-1]
