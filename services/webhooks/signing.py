"""Signing secrets and signatures by the Standard Webhooks scheme, through its library. Pure but for fresh secrets."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

_SECRET_BYTES: Final = 32


def new_secret() -> str:
    """A fresh `whsec_…`."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers(signers: Sequence[str], event_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The three headers of one attempt: a signature for each secret, the newest first."""
    text = body.decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, now, text) for secret in signers),
    }
