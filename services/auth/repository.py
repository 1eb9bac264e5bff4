"""The rows of the schema `auth`. Statements stand in sql/queries.sql, the rules inside the database in migrations/."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

from imagineo.postgres.pool import Database
from imagineo.postgres.queries import load

from services.auth import audit
from services.auth.accounts import DailyUsage, Key, Organization, Permission, Principal
from services.auth.admission import Demand, Standing
from services.auth.audit import Action, Entry
from services.auth.makers import maker_of
from services.auth.people import Actor
from services.auth.plans import Limits, Plan
from services.auth.rows import (
    changes,
    daily_usage_of,
    key_of,
    key_principal,
    organization_of,
    session_principal,
    standing_of,
)
from services.auth.window import Window

#: Words that the version before migration 0003 fails on; they stand in a column that it does not read.
_LATER: Final = frozenset({Permission.MEMBERS_READ, Permission.MEMBERS_WRITE, Permission.AUDIT_READ})

SQL: Final = load(Path(__file__).parent / "sql" / "queries.sql")


@dataclasses.dataclass(frozen=True, slots=True)
class Settlement:
    """How one run ended; without an organization: as it was reserved."""

    run_id: str
    completed: bool
    organization_id: str = ""
    month: date | None = None
    day: date | None = None
    key_id: str = ""
    model_id: str = ""
    megapixel_steps: float = 0.0
    device_ms: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """An organization with what it used, at one moment of the database's clock."""

    organization: Organization
    window: Window
    images_used: int
    images_reserved: int
    now_us: int


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A reservation that nobody closed yet."""

    run_id: str
    organization_id: str
    month: date
    changed_at: datetime


class Repository:
    """Reads and writes accounts, windows and reservations.

    Each method is one statement, or one transaction with the audit entry that tells of it.

    Raises:
        Unavailable: from every method, if the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check_schema(self) -> None:
        """Raise if the database is away or was not migrated."""
        await self._database.fetchval(SQL["check_schema"])

    async def resolve_keys(self, digests: Sequence[bytes]) -> dict[bytes, Principal]:
        """Find who stands behind each digest; unknown and revoked ones are left out."""
        rows = await self._database.fetch(SQL["resolve_keys"], list(digests))
        return {bytes(row["digest"]): key_principal(row) for row in rows}

    async def resolve_sessions(self, digests: Sequence[bytes]) -> dict[bytes, Principal]:
        """Find who stands behind each digest of a session's token; unknown and ended ones are left out."""
        rows = await self._database.fetch(SQL["resolve_sessions"], list(digests))
        return {bytes(row["digest"]): session_principal(row) for row in rows}

    async def admit(self, demands: Mapping[str, Demand]) -> dict[str, Standing]:
        """Count the requests and reserve the images of many organizations; exact under any concurrency."""
        runs = [(run_id, owner, place) for owner, demand in demands.items() for run_id, place in demand.runs]
        rows = await self._database.fetch(
            SQL["admit"],
            list(demands),
            [demand.request_count for demand in demands.values()],
            [demand.limits.requests_per_minute for demand in demands.values()],
            [demand.limits.images_per_month for demand in demands.values()],
            [run_id for run_id, _, _ in runs],
            [owner for _, owner, _ in runs],
            [place for _, _, place in runs],
        )
        return {row["organization_id"]: standing_of(row) for row in rows}

    async def settle(self, settlements: Sequence[Settlement]) -> int:
        """Close reservations; returns how many changed. Idempotent, in any order."""
        changed: int = await self._database.fetchval(
            SQL["settle"],
            [each.run_id for each in settlements],
            [each.organization_id for each in settlements],
            [each.month for each in settlements],
            [each.completed for each in settlements],
            [each.day or each.month for each in settlements],
            [each.key_id for each in settlements],
            [each.model_id for each in settlements],
            [each.megapixel_steps for each in settlements],
            [each.device_ms for each in settlements],
        )
        return changed

    async def hold_for_keys(self, runs: Sequence[tuple[str, str, int]]) -> frozenset[str]:
        """Hold reserved images against their keys' own limits, all or none of a request; gives the runs that may stay.

        Args:
            runs: key_id, run_id and the place of the request.
        """
        columns = [list(column) for column in zip(*runs, strict=True)]
        return frozenset(row["run_id"] for row in await self._database.fetch(SQL["hold_for_keys"], *columns))

    async def list_usage(
        self, organization_id: str, first: date, last: date, key_id: str, model_id: str, limit: int, offset: int
    ) -> tuple[list[DailyUsage], DailyUsage, int]:
        """A page of usage by day, key and model, newest day first; the sums over all pages; how many rows there are."""
        names = (organization_id, first, last, key_id, model_id)
        rows = await self._database.fetch(SQL["list_usage"], *names, limit, offset)
        page = [daily_usage_of(row) for row in rows]
        # A page past the end has no row to say the sums in.
        whole = rows or (await self._database.fetch(SQL["list_usage"], *names, 1, 0) if offset else [])
        if not whole:
            return page, DailyUsage(None, "", "", 0, 0.0, 0), 0
        sums = whole[0]
        total = DailyUsage(None, "", "", sums["total_images"], sums["total_megapixel_steps"], sums["total_device_ms"])
        return page, total, sums["rows_count"]

    async def touch_keys(self, used_at: Mapping[str, datetime]) -> None:
        """Note when keys were last used."""
        await self._database.execute(SQL["touch_keys"], list(used_at), list(used_at.values()))

    async def read_usage(self, organization_id: str) -> Usage | None:
        """Read limits and use; None if there is no such organization."""
        row = await self._database.fetchrow(SQL["read_usage"], organization_id)
        if row is None:
            return None
        window = Window(tuple(row["moments_us"]), tuple(row["counts"]))
        return Usage(organization_of(row), window, row["settled"], row["reserved"], row["now_us"])

    async def insert_organization(self, organization_id: str, name: str, plan: Plan) -> Organization | None:
        """Make an organization; None if the id is taken."""
        row = await self._database.fetchrow(SQL["insert_organization"], organization_id, name, plan.value)
        return row and organization_of(row)

    async def read_organization(self, organization_id: str) -> Organization | None:
        """Read an organization; None if there is none."""
        row = await self._database.fetchrow(SQL["read_organization"], organization_id)
        return row and organization_of(row)

    async def update_organization(
        self,
        organization_id: str,
        plan: Plan | None,
        overrides: Limits | None,
        name: str | None = None,
        omit_provenance: bool | None = None,
        *,
        actor: Actor,
    ) -> Organization | None:
        """Change an organization; None leaves a part as it is. None if there is no such organization."""
        numbers = (None,) * 3 if overrides is None else dataclasses.astuple(overrides)
        async with self._database.transaction() as connection:
            before = await connection.fetchrow(SQL["lock_organization"], organization_id)
            if before is None:
                return None
            row = await connection.fetchrow(
                SQL["update_organization"], organization_id, plan and plan.value, *numbers, name, omit_provenance
            )
            for entry in changes(organization_of(before), organization_of(row), actor):
                await audit.write(connection, entry)
        return organization_of(row)

    async def insert_key(self, key: Key, digest: bytes, actor: Actor) -> Key | None:
        """Store a new key; its times but the expiry are the database's. None if there is no such organization.

        Raises:
            PermissionDenied: if the actor may not make it.
        """
        async with self._database.transaction() as connection:
            if await connection.fetchrow(SQL["lock_organization"], key.organization_id) is None:
                return None
            maker = await maker_of(connection, key.organization_id, actor, key.permissions)
            row = await connection.fetchrow(
                SQL["insert_key"],
                key.key_id,
                key.organization_id,
                key.name,
                key.prefix,
                digest,
                sorted(key.permissions - _LATER),
                sorted(key.permissions & _LATER),
                key.expires_at,
                list(key.allowed_model_ids),
                key.images_per_month,
                maker,
            )
            details = {"name": key.name, "prefix": key.prefix, "scopes": " ".join(sorted(key.permissions))}
            entry = Entry(key.organization_id, Action.KEY_CREATED, actor, key.key_id, details)
            await audit.write(connection, entry)
        return key_of(row)

    async def list_keys(self, organization_id: str, before: str, limit: int) -> list[Key]:
        """List keys, newest first, older than `before` (a key_id, or the largest text)."""
        return [key_of(row) for row in await self._database.fetch(SQL["list_keys"], organization_id, before, limit)]

    async def revoke_key(self, organization_id: str, key_id: str, actor: Actor) -> tuple[Key, bytes] | None:
        """End a key; returns it with its digest, or None if the organization has no such key."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["revoke_key"], organization_id, key_id)
            if row is not None and row["is_news"]:
                details = {"name": row["name"], "prefix": row["prefix"]}
                entry = Entry(organization_id, Action.KEY_REVOKED, actor, key_id, details)
                await audit.write(connection, entry)
        return row and (key_of(row), bytes(row["digest"]))

    async def held_since(self, age_s: float, after: tuple[datetime, str], limit: int) -> list[Held]:
        """Page through the reservations held for longer than `age_s`, oldest first."""
        rows = await self._database.fetch(SQL["held_since"], age_s, *after, limit)
        return [Held(**row) for row in rows]

    async def forget_closed(self, age_s: float, limit: int) -> int:
        """Delete reservations that were closed longer than `age_s` ago; returns how many, at most `limit`."""
        return len(await self._database.fetch(SQL["forget_closed"], age_s, limit))
