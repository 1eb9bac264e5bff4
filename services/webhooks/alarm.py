"""Switches endpoints off and tells their owner: in the endpoint's log, and by an event to the others that want it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from imagineo.ids import new_id
from imagineo.telemetry.logs import bind
from imagineo.v1 import webhook_pb2 as pb
from imagineo.wire.shown_webhook import REASON_WORDS

from services.webhooks import events, wire
from services.webhooks.metrics import WebhookMetrics
from services.webhooks.repository.deliveries import Deliveries, Draft
from services.webhooks.repository.endpoints import Endpoints

log = logging.getLogger(__name__)

_WHY: Final[dict[pb.DisabledReason.ValueType, str]] = {
    pb.DISABLED_REASON_GONE: "The webhook was switched off: it answered 410.",
    pb.DISABLED_REASON_FAILING: "The webhook was switched off: every attempt of five days failed.",
}


class Alarm:
    """Acts once for each endpoint, whoever of the replicas comes first."""

    def __init__(self, endpoints: Endpoints, deliveries: Deliveries, metrics: WebhookMetrics | None) -> None:
        self._endpoints, self._deliveries, self._metrics = endpoints, deliveries, metrics

    async def switch_off(self, webhook_id: str, reason: pb.DisabledReason.ValueType, now: datetime) -> None:
        """Switch an endpoint off, drop what waits for it, and say so."""
        row = await self._deliveries.switch_off(webhook_id, reason, _WHY[reason], now)
        if row is None:
            return
        word = REASON_WORDS[reason] or ""
        with bind(org_id=row["organization_id"]):
            log.warning("webhook switched off", extra={"webhook_id": webhook_id, "reason": word})
        if self._metrics:
            self._metrics.switched_off.labels(word).inc()
        note = self._draft(row, webhook_id, new_id("evt"), now)
        await self._deliveries.note(note, _WHY[reason], now)
        others = await self._endpoints.subscribers([row["organization_id"]])
        told = [
            self._draft(row, other["webhook_id"], note.event_id, now)
            for other in others
            if events.wants(other["events"], events.WEBHOOK_DISABLED)
        ]
        if told:
            await self._deliveries.insert(told, now)

    def _draft(self, row: Mapping[str, Any], receiver_id: str, event_id: str, now: datetime) -> Draft:
        return Draft(
            delivery_id=new_id("whd"),
            organization_id=row["organization_id"],
            webhook_id=receiver_id,
            url="",
            origin=row["origin"],
            event_id=event_id,
            event_type=events.WEBHOOK_DISABLED,
            subject_id=row["webhook_id"],
            occurred_at=now,
            payload=wire.webhook(row).SerializeToString(),
        )
