"""Takes events in: from the stream EVENTS into one delivery for each receiver that wants them, before the ack."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from google.protobuf.message import DecodeError
from imagineo.broker.port import Broker, Delivery
from imagineo.egress import urls
from imagineo.errors import InvalidParameter
from imagineo.ids import new_id
from imagineo.telemetry.logs import bind
from imagineo.v1 import event_pb2
from imagineo.wire.times import moment

from services.webhooks import events, signing
from services.webhooks.metrics import WebhookMetrics
from services.webhooks.repository.deliveries import Deliveries, Draft
from services.webhooks.repository.endpoints import Endpoints
from services.webhooks.vault import Vault

log = logging.getLogger(__name__)

#: The durable consumer's name; all replicas share it.
DURABLE: Final = "webhooks"

Event = event_pb2.GenerationChanged


def read(body: bytes) -> Event | None:
    """Read a message of the stream; None where nobody is told of it.

    Raises:
        ValueError: if it is no event that the database could hold: one such would hold up its batch for ever.
    """
    try:
        event = Event.FromString(body)
    except DecodeError as problem:
        raise ValueError("not a GenerationChanged") from problem
    run = event.generation
    if events.type_of(run.status) is None:
        return None
    if not (event.event_id and run.run_id and run.organization_id and event.HasField("occurred_at")):
        raise ValueError("an event without its ids or its time")
    if "\0" in event.event_id + run.run_id + run.organization_id + run.webhook_url:
        raise ValueError("an event with NUL in it")
    return event


def draft_of(event: Event, *, webhook_id: str, url: str = "", origin: str = "") -> Draft:
    """One delivery of an event."""
    run = event.generation
    event_type = events.type_of(run.status)
    if event_type is None:
        raise ValueError("a run that is not over is no event")
    return Draft(
        delivery_id=new_id("whd"),
        organization_id=run.organization_id,
        webhook_id=webhook_id,
        url=url,
        origin=origin,
        event_id=event.event_id,
        event_type=event_type,
        subject_id=run.run_id,
        occurred_at=moment(event.occurred_at),
        payload=run.SerializeToString(),
    )


class Intake:
    """Consumes the stream; an event that comes twice is queued once."""

    def __init__(
        self,
        endpoints: Endpoints,
        deliveries: Deliveries,
        vault: Vault,
        metrics: WebhookMetrics | None,
        *,
        clock: Callable[[], datetime],
        queued: Callable[[], None],
        reach: urls.Reach,
    ) -> None:
        self._endpoints, self._deliveries, self._vault, self._metrics = endpoints, deliveries, vault, metrics
        self._clock, self._queued, self._reach = clock, queued, reach

    async def run(self, broker: Broker) -> None:
        """Consume until cancelled."""
        await broker.consume("EVENTS", DURABLE, self.handle)

    async def handle(self, messages: list[Delivery]) -> None:
        """Queue one batch, then ack it. What it raises brings the batch again."""
        found: list[Event] = []
        readable: list[Delivery] = []
        for message in messages:
            try:
                event = read(message.body)
            except ValueError as problem:
                log.warning("dropped an event on %s: %s", message.subject, problem)
                await message.term()
                continue
            readable.append(message)
            if event is not None:
                found.append(event)
        if drafts := await self._drafts(found):
            count = await self._deliveries.insert(drafts, self._clock())
            if self._metrics:
                self._metrics.queued.inc(count)
            self._queued()
        await asyncio.gather(*(message.ack() for message in readable))

    async def _drafts(self, found: Sequence[Event]) -> list[Draft]:
        owners = {event.generation.organization_id for event in found}
        subscribers = await self._endpoints.subscribers(sorted(owners)) if owners else []
        drafts = []
        for event in found:
            run = event.generation
            drafts += [
                draft_of(event, webhook_id=row["webhook_id"])
                for row in subscribers
                if row["organization_id"] == run.organization_id
                and events.wants(row["events"], events.type_of(run.status) or "")
            ]
            if run.webhook_url and (own := await self._own(event)):
                drafts.append(own)
        return drafts

    async def _own(self, event: Event) -> Draft | None:
        """The delivery to the run's own webhook_url, signed with the organization's own secret."""
        run = event.generation
        try:
            receiver = urls.read("webhook_url", run.webhook_url, self._reach)
        except InvalidParameter as problem:
            with bind(run_id=run.run_id, org_id=run.organization_id, request_id=run.request_id):
                log.warning("the webhook_url is not taken: %s", problem)
            return None
        await self._endpoints.ensure_secret(run.organization_id, self._vault.lock(signing.new_secret()))
        return draft_of(event, webhook_id="", url=run.webhook_url, origin=receiver.origin)
