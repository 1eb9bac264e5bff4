"""What may be registered, and the life of signing secrets: the rules in front of the rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from imagineo import errors
from imagineo.egress import urls
from imagineo.ids import is_id, new_id

from services.webhooks import events, signing
from services.webhooks.repository.endpoints import Change, Draft, Endpoints
from services.webhooks.vault import Vault

MAX_WEBHOOKS: Final = 50
MAX_DESCRIPTION_CHARACTERS: Final = 200
DEFAULT_OVERLAP_S: Final = 86_400
MAX_OVERLAP_S: Final = 7 * 86_400
#: What a text may not hold: controls, and half a surrogate pair.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_OWNER_MAX_CHARACTERS: Final = 128

Row = Mapping[str, Any]


class Registry:
    """Registers, changes and removes endpoints."""

    def __init__(self, endpoints: Endpoints, vault: Vault, *, clock: Callable[[], datetime], reach: urls.Reach) -> None:
        self._endpoints, self._vault, self._clock, self._reach = endpoints, vault, clock, reach

    async def create(
        self, organization_id: str, *, url: str, description: str, wanted: Sequence[str], active: bool
    ) -> tuple[Row, str]:
        """Register an endpoint; gives it with its secret.

        Raises:
            InvalidParameter: naming what is wrong.
            FailedPrecondition: if there are too many.
        """
        check_owner(organization_id)
        draft = Draft(
            webhook_id=new_id("hook"),
            organization_id=organization_id,
            url=url,
            origin=self._origin(url),
            description=_description(description),
            events=events.checked(wanted),
            active=active,
        )
        secret = signing.new_secret()
        row = await self._endpoints.insert(draft, self._vault.lock(secret), limit=MAX_WEBHOOKS, now=self._clock())
        return row, secret

    async def read(self, organization_id: str, webhook_id: str) -> Row:
        """One of the organization's.

        Raises:
            NotFound: if it has no such endpoint.
        """
        return _present(
            await self._endpoints.read(organization_id, webhook_id) if _may_be(organization_id, webhook_id) else None
        )

    async def update(
        self,
        organization_id: str,
        webhook_id: str,
        *,
        url: str | None,
        description: str | None,
        wanted: Sequence[str] | None,
        active: bool | None,
    ) -> Row:
        """Change what is not None.

        Raises:
            InvalidParameter: naming what is wrong.
            NotFound: if the organization has no such endpoint.
        """
        change = Change(
            url=url,
            origin=None if url is None else self._origin(url),
            description=None if description is None else _description(description),
            events=None if wanted is None else events.checked(wanted),
            active=active,
        )
        if not _may_be(organization_id, webhook_id):
            return _present(None)
        return _present(await self._endpoints.update(organization_id, webhook_id, change, self._clock()))

    async def delete(self, organization_id: str, webhook_id: str) -> None:
        """Remove one with its log.

        Raises:
            NotFound: if the organization has no such endpoint.
        """
        gone = _may_be(organization_id, webhook_id) and await self._endpoints.delete(
            organization_id, webhook_id, self._clock()
        )
        _present({} if gone else None)

    async def rotate(self, organization_id: str, webhook_id: str, overlap_s: int) -> tuple[str, datetime]:
        """Give an endpoint (or, with '', the organization) a new secret; gives it, and how long the old one signs.

        Raises:
            InvalidParameter: for an overlap out of range.
            NotFound: if the organization has no such endpoint.
        """
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise errors.InvalidParameter.of("overlap_s", f"between 0 and {MAX_OVERLAP_S}")
        check_owner(organization_id)
        secret, until = signing.new_secret(), self._clock() + timedelta(seconds=overlap_s)
        known = not webhook_id or is_id(webhook_id, "hook")
        done = known and await self._endpoints.rotate(organization_id, webhook_id, self._vault.lock(secret), until)
        _present({} if done else None)
        return secret, until

    async def secret(self, organization_id: str) -> Row:
        """The organization's own secret; it is made at its first use."""
        check_owner(organization_id)
        found = await self._endpoints.read_secret(organization_id)
        return found or await self._endpoints.ensure_secret(organization_id, self._vault.lock(signing.new_secret()))

    def _origin(self, url: str) -> str:
        return urls.read("url", url, self._reach).origin


def check_owner(organization_id: str) -> None:
    """Refuse what cannot be an organization's id.

    Raises:
        InvalidParameter: so.
    """
    if not 1 <= len(organization_id) <= _OWNER_MAX_CHARACTERS or "\0" in organization_id:
        raise errors.InvalidParameter.of("organization_id", "the id of an organization")


def _may_be(organization_id: str, webhook_id: str) -> bool:
    return is_id(webhook_id, "hook") and "\0" not in organization_id


def _present(row: Row | None) -> Row:
    if row is None:
        raise errors.NotFound("There is no such webhook.")
    return row


def _description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION_CHARACTERS or _FORBIDDEN.search(text):
        allowed = f"a string of at most {MAX_DESCRIPTION_CHARACTERS} characters without control characters"
        raise errors.InvalidParameter.of("description", allowed)
    return text
