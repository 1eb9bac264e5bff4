"""What is posted: `{type, timestamp, data}`, with data exactly as REST shows it. Pure; time comes as an argument."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import msgspec
from imagineo.v1 import generation_pb2, webhook_pb2
from imagineo.wire import shown, shown_webhook
from imagineo.wire.image_urls import UrlSigner
from imagineo.wire.times import timestamp


@dataclasses.dataclass(frozen=True, slots=True)
class Presenter:
    """Makes bodies; each attempt gets an image URL of its own, because the first one's may have expired."""

    public_url: str
    signer: UrlSigner

    def body(self, event_type: str, occurred_at: datetime, payload: bytes, now: datetime) -> bytes:
        """The JSON of one event; the payload is what `services.webhooks.intake` or `alarm` stored."""
        if event_type.startswith("generation."):
            run = generation_pb2.Generation.FromString(payload)
            data = shown.generation(run, self.public_url.rstrip("/"), self.signer, now.timestamp())
        else:
            data = shown_webhook.webhook(webhook_pb2.Webhook.FromString(payload))
        content: dict[str, Any] = {"type": event_type, "timestamp": shown.moment(timestamp(occurred_at)), "data": data}
        return msgspec.json.encode(content)
