"""Settles reservations by the durable events of status: a completed run counts its image, another end frees it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, date, datetime
from typing import Final

from google.protobuf.message import DecodeError
from imagineo.broker.port import Broker, Delivery
from imagineo.jobs.estimate import work_of
from imagineo.v1 import event_pb2
from imagineo.v1 import generation_pb2 as pb
from imagineo.wire.times import moment

from services.auth.metrics import AuthMetrics
from services.auth.repository import Repository, Settlement

log = logging.getLogger(__name__)

#: The durable consumer's name; all replicas share it.
DURABLE: Final = "auth"
_GIVEN_BACK: Final = (pb.STATUS_FAILED, pb.STATUS_CANCELED, pb.STATUS_EXPIRED)


def ended(status: pb.Status.ValueType) -> bool | None:
    """Tell whether a run of this status completed; None where it has not ended."""
    if status == pb.STATUS_COMPLETED:
        return True
    return False if status in _GIVEN_BACK else None


def settlement_of(body: bytes) -> Settlement | None:
    """Read an event; None where it ends no run.

    Raises:
        ValueError: if it is no event of a run that the database could hold: one such would hold up its batch for ever.
    """
    try:
        event = event_pb2.GenerationChanged.FromString(body)
    except DecodeError as problem:
        raise ValueError("not a GenerationChanged") from problem
    run = event.generation
    if not run.run_id or not run.organization_id or "\0" in run.run_id + run.organization_id:
        raise ValueError("an event without run_id or organization_id")
    completed = ended(run.status)
    if completed is None:
        return None
    made_at = moment(run.created_at) if run.HasField("created_at") else datetime.now(UTC)
    names = (run.key_id, run.parameters.model_id)
    key_id, model_id = names if "\0" not in "".join(names) else ("", "")
    return Settlement(
        run.run_id,
        completed,
        run.organization_id,
        month=date(made_at.year, made_at.month, 1),
        day=made_at.date(),
        key_id=key_id,
        model_id=model_id,
        megapixel_steps=work_of(run.parameters),
        device_ms=run.draw_ms,
    )


class Settler:
    """Consumes the stream EVENTS; an event that comes twice or late changes nothing."""

    def __init__(self, repository: Repository, metrics: AuthMetrics | None) -> None:
        self._repository = repository
        self._metrics = metrics

    async def run(self, broker: Broker) -> None:
        """Consume until cancelled."""
        await broker.consume("EVENTS", DURABLE, self.handle)

    async def handle(self, deliveries: list[Delivery]) -> None:
        """Settle one batch in one statement, then ack it. What it raises brings the batch again."""
        settlements: dict[str, Settlement] = {}
        readable: list[Delivery] = []
        for delivery in deliveries:
            try:
                settlement = settlement_of(delivery.body)
            except ValueError as problem:
                log.warning("dropped an event on %s: %s", delivery.subject, problem)
                await delivery.term()
                continue
            readable.append(delivery)
            if settlement is not None:
                settlements[settlement.run_id] = settlement
        if settlements:
            changed = await self._repository.settle(list(settlements.values()))
            if self._metrics:
                self._metrics.settled("events", changed)
        await asyncio.gather(*(delivery.ack() for delivery in readable))
