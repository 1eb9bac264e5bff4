"""Webhooks: where events are posted, their secrets, what was delivered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from typing_extensions import Unpack

from imagineo_client.calls import Call, Listing, Page, once
from imagineo_client.sync.transport import Transport
from imagineo_client.types.answers import Deliveries, Delivery, NewWebhook, SigningSecret, Webhook, Webhooks
from imagineo_client.types.requests import WebhookChange, WebhookOptions

_WEBHOOKS: Listing[Webhook] = Listing("/v1/webhooks", Webhooks, lambda answer: answer.webhooks)


class WebhooksOfAccount:
    """`client.webhooks`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, url: str, **options: Unpack[WebhookOptions]) -> NewWebhook:
        """Register one; its secret is in this answer only."""
        return self._transport.answer(once("/v1/webhooks", NewWebhook, {"url": url, **options}))

    def get(self, webhook_id: str) -> Webhook:
        """Read one."""
        return self._transport.answer(Call("GET", f"/v1/webhooks/{webhook_id}", Webhook))

    def list(self, *, limit: int = 20, cursor: str | None = None) -> Page[Webhook]:
        """One page, newest first."""
        return self._transport.page(_WEBHOOKS, limit, cursor)

    def iterate(self, *, page_size: int = 100) -> Iterator[Webhook]:
        """All of them."""
        return self._transport.items(_WEBHOOKS, page_size)

    def update(self, webhook_id: str, **changes: Unpack[WebhookChange]) -> Webhook:
        """Change one; what is not named stays."""
        return self._transport.answer(Call("PATCH", f"/v1/webhooks/{webhook_id}", Webhook, body=changes))

    def delete(self, webhook_id: str) -> None:
        """Remove one with its log."""
        self._transport.done(Call("DELETE", f"/v1/webhooks/{webhook_id}", type(None)))

    def rotate_secret(self, webhook_id: str, *, overlap_s: int | None = None) -> SigningSecret:
        """Give one a new secret; for `overlap_s` seconds the one before signs as well."""
        return self._rotated(f"/v1/webhooks/{webhook_id}/rotate-secret", overlap_s)

    def signing_secret(self) -> SigningSecret:
        """The account's own, which signs what is posted to the `webhook_url`s of runs."""
        return self._transport.answer(Call("GET", "/v1/webhooks/secret", SigningSecret))

    def rotate_signing_secret(self, *, overlap_s: int | None = None) -> SigningSecret:
        """Give the account a new one."""
        return self._rotated("/v1/webhooks/secret/rotate", overlap_s)

    def deliveries(
        self,
        *,
        webhook_id: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        state: str | Sequence[str] | None = None,
        subject_id: str | None = None,
    ) -> Page[Delivery]:
        """One page of what was posted in the last 30 days, newest first."""
        return self._transport.page(_deliveries(webhook_id, state, subject_id), limit, cursor)

    def iterate_deliveries(
        self,
        *,
        webhook_id: str | None = None,
        state: str | Sequence[str] | None = None,
        subject_id: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Delivery]:
        """All of them."""
        return self._transport.items(_deliveries(webhook_id, state, subject_id), page_size)

    def redeliver(self, delivery_id: str) -> Delivery:
        """Post one again, under the same event id."""
        return self._transport.answer(once(f"/v1/webhooks/deliveries/{delivery_id}/redeliver", Delivery))

    def _rotated(self, path: str, overlap_s: int | None) -> SigningSecret:
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return self._transport.answer(once(path, SigningSecret, body))


def _deliveries(webhook_id: str | None, state: str | Sequence[str] | None, subject_id: str | None) -> Listing[Delivery]:
    path = f"/v1/webhooks/{webhook_id}/deliveries" if webhook_id else "/v1/webhooks/deliveries"
    query = {"state": state, "subject_id": subject_id}
    return Listing(path, Deliveries, lambda answer: answer.deliveries, query)
