"""Sessions on the hot path: who stands behind a token's digest, and when it was last used."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime

from services.auth.accounts import Principal
from services.auth.key_cache import KeyCache, known
from services.auth.last_use import LastUse
from services.auth.people import Role, words_of
from services.auth.people_repository import PeopleRepository
from services.auth.repository import Repository


class Sessions:
    """The cache of sessions; it forgets as that of keys does, so that an ended one passes for less than 2 s."""

    def __init__(
        self, repository: Repository, people: PeopleRepository, *, verified_mail_required: bool = False
    ) -> None:
        self._repository = repository
        self._people = people
        self._verified_mail_required = verified_mail_required
        self._cache = KeyCache()
        self._last_use = LastUse()

    async def principals(self, digests: Iterable[bytes]) -> dict[bytes, Principal | None]:
        """Who stands behind each digest.

        Raises:
            Unavailable: if the database is away.
        """
        return await known(digests, self._cache, self._resolve)

    async def _resolve(self, digests: Sequence[bytes]) -> dict[bytes, Principal]:
        """Who stands behind them; whose mail address must be proven and is not may do no more than a viewer."""
        found = await self._repository.resolve_sessions(digests)
        if not self._verified_mail_required:
            return found
        return {
            digest: principal if principal.is_verified else _looking(principal) for digest, principal in found.items()
        }

    def note(self, session_ids: Iterable[str], now: datetime) -> None:
        """Note that sessions were used."""
        self._last_use.note(session_ids, now)

    def forget(self, digest: bytes) -> None:
        """Drop a session that ended or changed."""
        self._cache.forget(digest, asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Write for ever when sessions were used."""
        await self._last_use.run(self._people.touch_sessions)


def _looking(principal: Principal) -> Principal:
    return dataclasses.replace(principal, permissions=principal.permissions & words_of(Role.VIEWER), is_barred=True)
