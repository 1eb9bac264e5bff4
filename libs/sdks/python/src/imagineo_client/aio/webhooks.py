"""Webhooks: where events are posted, their secrets, what was delivered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from typing_extensions import Unpack

from imagineo_client.aio.transport import Transport
from imagineo_client.calls import Call, Listing, Page, once
from imagineo_client.types.answers import Deliveries, Delivery, NewWebhook, SigningSecret, Webhook, Webhooks
from imagineo_client.types.requests import WebhookChange, WebhookOptions

_WEBHOOKS: Listing[Webhook] = Listing("/v1/webhooks", Webhooks, lambda answer: answer.webhooks)


class WebhooksOfAccount:
    """`client.webhooks`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, url: str, **options: Unpack[WebhookOptions]) -> NewWebhook:
        """Register one; its secret is in this answer only."""
        return await self._transport.answer(once("/v1/webhooks", NewWebhook, {"url": url, **options}))

    async def get(self, webhook_id: str) -> Webhook:
        """Read one."""
        return await self._transport.answer(Call("GET", f"/v1/webhooks/{webhook_id}", Webhook))

    async def list(self, *, limit: int = 20, cursor: str | None = None) -> Page[Webhook]:
        """One page, newest first."""
        return await self._transport.page(_WEBHOOKS, limit, cursor)

    def iterate(self, *, page_size: int = 100) -> AsyncIterator[Webhook]:
        """All of them."""
        return self._transport.items(_WEBHOOKS, page_size)

    async def update(self, webhook_id: str, **changes: Unpack[WebhookChange]) -> Webhook:
        """Change one; what is not named stays."""
        return await self._transport.answer(Call("PATCH", f"/v1/webhooks/{webhook_id}", Webhook, body=changes))

    async def delete(self, webhook_id: str) -> None:
        """Remove one with its log."""
        await self._transport.done(Call("DELETE", f"/v1/webhooks/{webhook_id}", type(None)))

    async def rotate_secret(self, webhook_id: str, *, overlap_s: int | None = None) -> SigningSecret:
        """Give one a new secret; for `overlap_s` seconds the one before signs as well."""
        return await self._rotated(f"/v1/webhooks/{webhook_id}/rotate-secret", overlap_s)

    async def signing_secret(self) -> SigningSecret:
        """The account's own, which signs what is posted to the `webhook_url`s of runs."""
        return await self._transport.answer(Call("GET", "/v1/webhooks/secret", SigningSecret))

    async def rotate_signing_secret(self, *, overlap_s: int | None = None) -> SigningSecret:
        """Give the account a new one."""
        return await self._rotated("/v1/webhooks/secret/rotate", overlap_s)

    async def deliveries(
        self,
        *,
        webhook_id: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        state: str | Sequence[str] | None = None,
        subject_id: str | None = None,
    ) -> Page[Delivery]:
        """One page of what was posted in the last 30 days, newest first."""
        return await self._transport.page(_deliveries(webhook_id, state, subject_id), limit, cursor)

    def iterate_deliveries(
        self,
        *,
        webhook_id: str | None = None,
        state: str | Sequence[str] | None = None,
        subject_id: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Delivery]:
        """All of them."""
        return self._transport.items(_deliveries(webhook_id, state, subject_id), page_size)

    async def redeliver(self, delivery_id: str) -> Delivery:
        """Post one again, under the same event id."""
        return await self._transport.answer(once(f"/v1/webhooks/deliveries/{delivery_id}/redeliver", Delivery))

    async def _rotated(self, path: str, overlap_s: int | None) -> SigningSecret:
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return await self._transport.answer(once(path, SigningSecret, body))


def _deliveries(webhook_id: str | None, state: str | Sequence[str] | None, subject_id: str | None) -> Listing[Delivery]:
    path = f"/v1/webhooks/{webhook_id}/deliveries" if webhook_id else "/v1/webhooks/deliveries"
    query = {"state": state, "subject_id": subject_id}
    return Listing(path, Deliveries, lambda answer: answer.deliveries, query)
