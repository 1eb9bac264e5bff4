"""Webhooks: checks that a request is the platform's, by the library of the specification, and reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import standardwebhooks

from imagineo_client.answering import decoded
from imagineo_client.errors import WebhookVerificationError
from imagineo_client.types.answers import Generation, Webhook


@dataclass(frozen=True)
class WebhookEvent:
    """What happened to a generation; of `webhook.disabled` to the webhook."""

    type: str
    timestamp: datetime
    data: Generation | Webhook


class _Envelope(msgspec.Struct):
    type: str
    timestamp: datetime
    data: msgspec.Raw


def verify_webhook(body: bytes | str, headers: Mapping[str, str], secret: str) -> WebhookEvent:
    """The event of a request, if its signature is the secret's and not older than five minutes.

    Args:
        body: exactly as it came, before anything parses it.
        headers: of the request, in any case.
        secret: `whsec_…`.

    Raises:
        WebhookVerificationError: otherwise.
    """
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    named = {name.lower(): value for name, value in headers.items()}
    try:
        standardwebhooks.Webhook(secret).verify(text, named)
    except standardwebhooks.WebhookVerificationError as problem:
        raise WebhookVerificationError(f"The webhook is not verified: {problem}.") from problem
    except Exception as problem:
        raise WebhookVerificationError(f"The webhook cannot be verified: {problem}.") from problem
    where = "a webhook"
    envelope = decoded(text.encode(), _Envelope, where)
    shape: type[Generation | Webhook] = Webhook if envelope.type.startswith("webhook.") else Generation
    return WebhookEvent(envelope.type, envelope.timestamp, decoded(bytes(envelope.data), shape, where))
