"""What belongs to the account: keys, limits, usage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from typing_extensions import Unpack

from imagineo_client.calls import Call, Listing, Page, once
from imagineo_client.sync.transport import Transport
from imagineo_client.types.answers import Key, Keys, Limits, NewKey, Usage, UsageUsage
from imagineo_client.types.requests import KeyOptions

_KEYS: Listing[Key] = Listing("/v1/keys", Keys, lambda answer: answer.keys)


class KeysOfAccount:
    """`client.keys`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 20, cursor: str | None = None) -> Page[Key]:
        """One page, newest first, the revoked included."""
        return self._transport.page(_KEYS, limit, cursor)

    def iterate(self, *, page_size: int = 100) -> Iterator[Key]:
        """All of them."""
        return self._transport.items(_KEYS, page_size)

    def create(self, name: str, **options: Unpack[KeyOptions]) -> NewKey:
        """Make one; its secret is in this answer only."""
        return self._transport.answer(once("/v1/keys", NewKey, {"name": name, **options}))

    def revoke(self, key_id: str) -> None:
        """End one. Idempotent."""
        self._transport.done(Call("DELETE", f"/v1/keys/{key_id}", type(None)))


class LimitsOfAccount:
    """`client.limits`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self) -> Limits:
        """Every limit of this key, and what is left."""
        return self._transport.answer(Call("GET", "/v1/limits", Limits))


class UsageOfAccount:
    """`client.usage`: by day, key and model."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        limit: int = 20,
        cursor: str | None = None,
        from_day: date | None = None,
        to_day: date | None = None,
        key_id: str | None = None,
        model_id: str | None = None,
    ) -> Usage:
        """One page, newest day first, with the sums of all pages."""
        listing = _usage(from_day, to_day, key_id, model_id)
        answer: Usage = self._transport.answer(listing.call(limit, cursor))
        return answer

    def iterate(
        self,
        *,
        from_day: date | None = None,
        to_day: date | None = None,
        key_id: str | None = None,
        model_id: str | None = None,
        page_size: int = 100,
    ) -> Iterator[UsageUsage]:
        """All rows."""
        return self._transport.items(_usage(from_day, to_day, key_id, model_id), page_size)


def _usage(from_day: date | None, to_day: date | None, key_id: str | None, model_id: str | None) -> Listing[UsageUsage]:
    query = {"from": from_day, "to": to_day, "key_id": key_id, "model_id": model_id}
    return Listing("/v1/usage", Usage, lambda answer: answer.usage, query)
