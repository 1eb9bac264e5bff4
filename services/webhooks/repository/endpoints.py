"""Endpoints and signing secrets. Secrets come and go encrypted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from imagineo import errors
from imagineo.postgres.pool import Database
from imagineo.v1 import webhook_pb2 as pb

from services.webhooks.repository import queries

SQL: Final = queries("endpoints")

_DELETED_AT_ONCE: Final = 2_000
_SWITCHED_OFF: Final = "The webhook was switched off."

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """An endpoint to register."""

    webhook_id: str
    organization_id: str
    url: str
    origin: str
    description: str
    events: Sequence[str]
    active: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What of an endpoint is to be otherwise; None: as it is."""

    url: str | None = None
    origin: str | None = None
    description: str | None = None
    events: Sequence[str] | None = None
    active: bool | None = None


class Endpoints:
    """Reads and writes endpoints and secrets.

    Raises:
        Unavailable: from every method, if the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check_schema(self) -> None:
        """Raise if the database is away or was not migrated."""
        await self._database.fetchval(SQL["check_schema"])

    async def insert(self, draft: Draft, secret: bytes, *, limit: int, now: datetime) -> Row:
        """Register an endpoint.

        Raises:
            FailedPrecondition: if the organization has `limit` of them.
        """
        owner = draft.organization_id
        reason = pb.DISABLED_REASON_UNSPECIFIED if draft.active else pb.DISABLED_REASON_OWNER
        async with self._database.transaction() as connection:
            await connection.execute(SQL["lock_organization"], owner)
            if await connection.fetchval(SQL["count_endpoints"], owner) >= limit:
                raise errors.FailedPrecondition(
                    f"The account has {limit} webhooks, as many as it may.", metadata={"limit": str(limit)}
                )
            row: Row = await connection.fetchrow(
                SQL["insert_endpoint"],
                draft.webhook_id,
                owner,
                draft.url,
                draft.origin,
                draft.description,
                list(draft.events),
                draft.active,
                reason,
                secret,
                now,
            )
        return row

    async def read(self, organization_id: str, webhook_id: str) -> Row | None:
        """Read one; None if the organization has no such endpoint."""
        return await self._database.fetchrow(SQL["read_endpoint"], webhook_id, organization_id)

    async def page(self, organization_id: str, before: str, limit: int) -> list[Row]:
        """An organization's, newest first, older than `before` (an id, or the largest text)."""
        return list(await self._database.fetch(SQL["list_endpoints"], organization_id, before, limit))

    async def update(self, organization_id: str, webhook_id: str, change: Change, now: datetime) -> Row | None:
        """Change one with what waits for it: a new address takes it along, switching off drops it."""
        async with self._database.transaction() as connection:
            row: Row | None = await connection.fetchrow(
                SQL["update_endpoint"],
                webhook_id,
                organization_id,
                change.url,
                change.origin,
                change.description,
                None if change.events is None else list(change.events),
                change.active,
                pb.DISABLED_REASON_OWNER,
                now,
            )
            if row is not None and change.origin is not None:
                await connection.execute(SQL["move_pending"], webhook_id, change.origin)
            if row is not None and change.active is False:
                await connection.execute(SQL["drop_pending"], webhook_id, _SWITCHED_OFF)
        return row

    async def delete(self, organization_id: str, webhook_id: str, now: datetime) -> bool:
        """Remove one with its log, in pieces; False if there is none. A broken off removal leaves it switched off."""
        if await self.update(organization_id, webhook_id, Change(active=False), now) is None:
            return False
        while await self._database.execute(SQL["delete_deliveries"], webhook_id, _DELETED_AT_ONCE) != "DELETE 0":
            pass
        return await self._database.fetchval(SQL["delete_endpoint"], webhook_id, organization_id) is not None

    async def rotate(self, organization_id: str, webhook_id: str, secret: bytes, previous_until: datetime) -> bool:
        """Give an endpoint (or, with '', the organization) a new secret; False if there is no such endpoint."""
        if webhook_id:
            done = await self._database.fetchrow(
                SQL["rotate_endpoint"], webhook_id, organization_id, secret, previous_until
            )
        else:
            await self.ensure_secret(organization_id, secret)
            done = await self._database.fetchrow(SQL["rotate_organization"], organization_id, secret, previous_until)
        return done is not None

    async def ensure_secret(self, organization_id: str, fresh: bytes) -> Row:
        """The organization's own secret; `fresh` becomes it where there is none."""
        await self._database.execute(SQL["ensure_organization"], organization_id, fresh)
        row: Row | None = await self._database.fetchrow(SQL["read_organization"], organization_id)
        if row is None:
            raise errors.Internal("an organization's signing secret is gone")
        return row

    async def read_secret(self, organization_id: str) -> Row | None:
        """The organization's own secret; None if it was never used."""
        return await self._database.fetchrow(SQL["read_organization"], organization_id)

    async def subscribers(self, organization_ids: Sequence[str]) -> list[Row]:
        """The active endpoints of some organizations, with their filters."""
        return list(await self._database.fetch(SQL["subscribers"], list(organization_ids)))
