"""Rows as protocol messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from imagineo.v1 import webhook_pb2 as pb
from imagineo.wire.times import timestamp

from services.webhooks.vault import Vault

Row = Mapping[str, Any]


def webhook(row: Row) -> pb.Webhook:
    """An endpoint."""
    return pb.Webhook(
        webhook_id=row["webhook_id"],
        organization_id=row["organization_id"],
        url=row["url"],
        description=row["description"],
        events=row["events"],
        active=row["active"],
        disabled_reason=row["disabled_reason"],
        disabled_at=timestamp(row["disabled_at"]),
        failing_since=timestamp(row["failing_since"]),
        created_at=timestamp(row["created_at"]),
        updated_at=timestamp(row["updated_at"]),
    )


def delivery(row: Row) -> pb.WebhookDelivery:
    """A line of the log."""
    return pb.WebhookDelivery(
        delivery_id=row["delivery_id"],
        webhook_id=row["webhook_id"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        subject_id=row["subject_id"],
        state=row["state"],
        attempts=row["attempts"],
        status_code=row["status_code"],
        duration_ms=row["duration_ms"],
        last_error=row["last_error"],
        last_response=row["last_response"],
        created_at=timestamp(row["created_at"]),
        attempted_at=timestamp(row["attempted_at"]),
        next_attempt_at=timestamp(row["next_attempt_at"]),
        url=row["url"],
    )


def secret(row: Row, vault: Vault, now: datetime) -> pb.SigningSecret:
    """A signing secret; the one before it is mentioned while it signs."""
    until = row["previous_until"]
    return pb.SigningSecret(
        secret=vault.unlock(row["secret"]),
        previous_until=timestamp(until) if until is not None and until > now else None,
    )
