"""The shapes of webhooks in `/openapi.json`, as data; the events themselves in its `webhooks`."""

from __future__ import annotations

from typing import Any, Final

from imagineo.wire.shown_webhook import EVENT_TYPES, REASON_WORDS, STATES

from services.gateway.shapes import TEXT, TIME, WHOLE, closed, nullable, page, ref
from services.gateway.webhooks import DEFAULT_OVERLAP_S, EVENT_WORDS, MAX_DESCRIPTION_CHARACTERS, MAX_OVERLAP_S

Json = dict[str, Any]

_URL: Final[Json] = {
    "type": "string",
    "format": "uri",
    "minLength": 1,
    "maxLength": 2048,
    "description": "An https URL of a public host; redirects are not followed.",
}
_DESCRIPTION: Final[Json] = {"type": "string", "maxLength": MAX_DESCRIPTION_CHARACTERS}
_EVENTS: Final[Json] = {
    "type": "array",
    "items": {"enum": list(EVENT_WORDS)},
    "minItems": 1,
    "maxItems": len(EVENT_WORDS),
    "description": "Which events it is told of; `*`: all.",
}
_ACTIVE: Final[Json] = {"type": "boolean", "description": "Whether it gets events."}
_WEBHOOK: Final[Json] = {
    "id": TEXT,
    "url": {"type": "string", "format": "uri"},
    "description": TEXT,
    "events": _EVENTS,
    "active": _ACTIVE,
    "disabled_reason": {
        "enum": list(REASON_WORDS.values()),
        "description": "`owner`: switched off by you; `gone`: it answered 410; `failing`: every attempt of five days "
        "failed; null: it is active.",
    },
    "disabled_at": nullable(TIME),
    "failing_since": {**nullable(TIME), "description": "When the first of its latest failures was."},
    "created_at": TIME,
    "updated_at": TIME,
}
_SECRET: Final[Json] = {
    "secret": {"type": "string", "description": "`whsec_…`, for the libraries of standardwebhooks.com."},
    "previous_secret_expires_at": {
        **nullable(TIME),
        "description": "Until then the secret before signs as well: each request has both signatures.",
    },
}

WEBHOOK_SCHEMAS: Final[dict[str, Json]] = {
    "Webhook": closed(_WEBHOOK),
    "Webhooks": page("webhooks", "Webhook"),
    "NewWebhook": closed(
        {**_WEBHOOK, "secret": {"type": "string", "description": "Signs what it is sent; shown this once."}}
    ),
    "WebhookRequest": closed(
        {
            "url": _URL,
            "description": {**_DESCRIPTION, "default": ""},
            "events": {**_EVENTS, "default": ["*"]},
            "active": {**_ACTIVE, "default": True},
        },
        optional=("description", "events", "active"),
    ),
    "WebhookChange": closed(
        {"url": _URL, "description": _DESCRIPTION, "events": _EVENTS, "active": _ACTIVE},
        optional=("url", "description", "events", "active"),
    ),
    "Rotation": closed(
        {
            "overlap_s": {
                "type": "integer",
                "minimum": 0,
                "maximum": MAX_OVERLAP_S,
                "default": DEFAULT_OVERLAP_S,
                "description": "How many seconds the secret before signs as well.",
            }
        },
        optional=("overlap_s",),
    ),
    "SigningSecret": closed(_SECRET),
    "Delivery": closed(
        {
            "id": TEXT,
            "webhook_id": {**nullable(TEXT), "description": "Null: the `webhook_url` of the generation itself."},
            "url": TEXT,
            "event_id": {"type": "string", "description": "The `webhook-id` of every attempt."},
            "event_type": {"enum": list(EVENT_TYPES)},
            "subject_id": {"type": "string", "description": "What it is about, such as a generation's run_id."},
            "state": {
                "enum": list(STATES),
                "description": "`failed`: it is not tried any more; `dropped`: its webhook was switched off.",
            },
            "attempts": WHOLE,
            "status_code": {**nullable(WHOLE), "description": "What the last attempt was answered."},
            "duration_ms": {**nullable(WHOLE), "description": "How long the last attempt took."},
            "last_error": nullable(TEXT),
            "last_response": {**nullable(TEXT), "description": "The first kilobyte of the last answer's body."},
            "created_at": TIME,
            "attempted_at": nullable(TIME),
            "next_attempt_at": nullable(TIME),
        }
    ),
    "Deliveries": page("deliveries", "Delivery"),
    "Event": closed(
        {
            "type": {"enum": list(EVENT_TYPES)},
            "timestamp": {**TIME, "description": "When it happened."},
            "data": {
                "anyOf": [ref("Generation"), ref("Webhook")],
                "description": "The generation exactly as `GET /v1/generations/{run_id}` shows it, its image URL "
                "signed for this request; of `webhook.disabled` the webhook.",
            },
        }
    ),
}

_HEADERS: Final = {
    "webhook-id": "The event's id, the same at each attempt: keep it to tell a repetition.",
    "webhook-timestamp": "The Unix second of the attempt.",
    "webhook-signature": "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; during a rotation two, with a space "
    "between.",
}

#: What is posted to the receivers.
POSTED: Final[dict[str, Json]] = {
    "event": {
        "post": {
            "operationId": "receiveEvent",
            "summary": "Posted to every webhook whose filter lets the event through, and to a generation's "
            "`webhook_url`, signed by the scheme of Standard Webhooks; a `webhook_url` with the account's own secret.",
            "description": "Any 2xx within 15 s is a success; 410 switches the webhook off; anything else, a redirect "
            "included, is tried again over three days, with growing pauses. An event may come more than once; those of "
            "one generation come in their order.",
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": said, "schema": {"type": "string"}}
                for name, said in _HEADERS.items()
            ],
            "requestBody": {"required": True, "content": {"application/json": {"schema": ref("Event")}}},
            "responses": {"2XX": {"description": "It was received."}, "410": {"description": "Send no more."}},
        }
    }
}
