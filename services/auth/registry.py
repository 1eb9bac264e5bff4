"""What operators and the dashboard do with organizations and keys: checked here, stored by the repository."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from imagineo import errors, keys
from imagineo.ids import is_id, new_id

from services.auth.accounts import Key, Organization, Permission
from services.auth.people import OPERATOR, Actor, check_name
from services.auth.plans import MAX_LIMIT, Limits, Plan
from services.auth.repository import Repository

Noun = TypeVar("Noun")

_ORGANIZATION_ID: Final = re.compile(r"org_[0-9a-z_]{1,60}")
_MAX_MODELS: Final = 100


class Registry:
    """Makes, changes and ends organizations and keys."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def create_organization(self, name: str, plan: Plan | None, organization_id: str = "") -> Organization:
        """Make an organization. A chosen id that exists already is answered as it stands.

        Raises:
            InvalidParameter: for a bad name or id, or no plan.
        """
        name = check_name("name", name)
        if plan is None:
            raise errors.InvalidParameter.of("plan", "free, basic or premium")
        if organization_id and not _ORGANIZATION_ID.fullmatch(organization_id):
            raise errors.InvalidParameter.of("organization_id", "org_ and 1 to 60 lower-case letters, digits or _")
        organization_id = organization_id or new_id("org")
        made = await self._repository.insert_organization(organization_id, name, plan)
        return made or await self.organization(organization_id)

    async def organization(self, organization_id: str) -> Organization:
        """Read an organization.

        Raises:
            NotFound: if there is none.
        """
        check_organization_id(organization_id)
        found = await self._repository.read_organization(organization_id)
        return present(found, "organization_id", organization_id)

    async def update_organization(
        self,
        organization_id: str,
        plan: Plan | None,
        overrides: Limits | None,
        name: str | None = None,
        omit_provenance: bool | None = None,
        *,
        actor: Actor = OPERATOR,
    ) -> Organization:
        """Change plan, limits, name or settings; None leaves a part as it is.

        Raises:
            InvalidParameter: for limits out of range.
            NotFound: if there is no such organization.
        """
        check_organization_id(organization_id)
        for field in Limits.__dataclass_fields__ if overrides else ():
            if not 0 <= getattr(overrides, field) <= MAX_LIMIT:
                raise errors.InvalidParameter.of(f"limits.{field}", f"between 0 and {MAX_LIMIT}")
        if name is not None:
            name = check_name("name", name)
        found = await self._repository.update_organization(
            organization_id, plan, overrides, name, omit_provenance, actor=actor
        )
        return present(found, "organization_id", organization_id)

    async def create_key(
        self,
        organization_id: str,
        name: str,
        permissions: Iterable[Permission] = (),
        expires_at: datetime | None = None,
        allowed_model_ids: Sequence[str] = (),
        images_per_month: int = 0,
        actor: Actor = OPERATOR,
    ) -> tuple[Key, str]:
        """Make a key; the secret beside it is shown this once. No permissions named: all; no models: all.

        Raises:
            InvalidParameter: for a bad name, an expiry that is past, or bounds out of range.
            NotFound: if there is no such organization.
        """
        check_organization_id(organization_id)
        name = check_name("name", name)
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise errors.InvalidParameter.of("expires_at", "in the future")
        if len(allowed_model_ids) > _MAX_MODELS or not all(_is_model(model_id) for model_id in allowed_model_ids):
            raise errors.InvalidParameter.of("allowed_models", f"at most {_MAX_MODELS} ids of models")
        if not 0 <= images_per_month <= MAX_LIMIT:
            raise errors.InvalidParameter.of("images_per_month", f"between 1 and {MAX_LIMIT}")
        secret = keys.new_secret()
        key = Key(
            key_id=new_id("key"),
            organization_id=organization_id,
            name=name,
            prefix=keys.prefix(secret),
            permissions=frozenset(permissions) or frozenset(Permission),
            created_at=datetime.now(UTC),
            expires_at=expires_at,
            revoked_at=None,
            last_used_at=None,
            allowed_model_ids=tuple(dict.fromkeys(allowed_model_ids)),
            images_per_month=images_per_month,
        )
        stored = await self._repository.insert_key(key, keys.digest(secret), actor)
        return present(stored, "organization_id", organization_id), secret


def check_organization_id(text: str) -> None:
    """Let only what may be an organization's id reach the database, which cannot store every text.

    Raises:
        NotFound: for any other text.
    """
    if not is_organization_id(text):
        raise errors.NotFound(_no_such("organization_id", text), metadata={"organization_id": text})


def is_organization_id(text: str) -> bool:
    """Tell whether the text may be an organization's id."""
    return _ORGANIZATION_ID.fullmatch(text) is not None


def _is_model(text: str) -> bool:
    return is_id(text, "model") or is_id(text, "base")


def present(found: Noun | None, field: str, value: str) -> Noun:
    """Give what was found.

    Raises:
        NotFound: if it was not.
    """
    if found is None:
        raise errors.NotFound(_no_such(field, value), metadata={field: value})
    return found


def _no_such(field: str, value: str) -> str:
    return f"There is no {field.removesuffix('_id')} '{value}'."
