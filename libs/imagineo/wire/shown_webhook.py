"""A webhook endpoint and a delivery as REST shows them, and as the event about an endpoint carries it. Pure."""

from __future__ import annotations

from typing import Any, Final

from imagineo.v1 import webhook_pb2 as pb
from imagineo.wire.shown import moment

REASON_WORDS: Final[dict[pb.DisabledReason.ValueType, str | None]] = {
    pb.DISABLED_REASON_UNSPECIFIED: None,
    pb.DISABLED_REASON_OWNER: "owner",
    pb.DISABLED_REASON_GONE: "gone",
    pb.DISABLED_REASON_FAILING: "failing",
}
STATE_WORDS: Final[dict[pb.DeliveryState.ValueType, str]] = {
    pb.DELIVERY_STATE_PENDING: "pending",
    pb.DELIVERY_STATE_DELIVERED: "delivered",
    pb.DELIVERY_STATE_FAILED: "failed",
    pb.DELIVERY_STATE_DROPPED: "dropped",
}
#: The events that there are; `*` in a filter is all of them.
EVENT_TYPES: Final = (
    "generation.completed",
    "generation.failed",
    "generation.canceled",
    "generation.expired",
    "webhook.disabled",
)
STATES: Final = {word: state for state, word in STATE_WORDS.items()}


def webhook(hook: pb.Webhook) -> dict[str, Any]:
    """An endpoint as it stands; its secret is never part of it."""
    return {
        "id": hook.webhook_id,
        "url": hook.url,
        "description": hook.description,
        "events": list(hook.events),
        "active": hook.active,
        "disabled_reason": REASON_WORDS[hook.disabled_reason],
        "disabled_at": moment(hook.disabled_at) if hook.HasField("disabled_at") else None,
        "failing_since": moment(hook.failing_since) if hook.HasField("failing_since") else None,
        "created_at": moment(hook.created_at),
        "updated_at": moment(hook.updated_at),
    }


def secret(found: pb.SigningSecret) -> dict[str, Any]:
    """A signing secret, and until when the one before it signs as well."""
    return {
        "secret": found.secret,
        "previous_secret_expires_at": moment(found.previous_until) if found.HasField("previous_until") else None,
    }


def delivery(found: pb.WebhookDelivery) -> dict[str, Any]:
    """A line of the log."""
    return {
        "id": found.delivery_id,
        "webhook_id": found.webhook_id or None,
        "url": found.url,
        "event_id": found.event_id,
        "event_type": found.event_type,
        "subject_id": found.subject_id,
        "state": STATE_WORDS[found.state],
        "attempts": found.attempts,
        "status_code": found.status_code or None,
        "duration_ms": found.duration_ms if found.HasField("attempted_at") else None,
        "last_error": found.last_error or None,
        "last_response": found.last_response or None,
        "created_at": moment(found.created_at),
        "attempted_at": moment(found.attempted_at) if found.HasField("attempted_at") else None,
        "next_attempt_at": moment(found.next_attempt_at) if found.HasField("next_attempt_at") else None,
    }
