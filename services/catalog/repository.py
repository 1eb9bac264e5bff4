"""The catalog's rows in Postgres, as protocol messages. What may be combined with what is `resolve.py`'s affair."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from imagineo.ids import new_id
from imagineo.postgres.pool import Database
from imagineo.postgres.queries import load
from imagineo.v1 import model_pb2 as pb

from services.catalog.lora_file import LoraFacts
from services.catalog.manifest import Manifest

_SQL: Final = load(Path(__file__).parent / "sql" / "models.sql")
_FILES: Final = load(Path(__file__).parent / "sql" / "files.sql")
#: How long a file may be held, with a store that is asked meanwhile.
_HOLD_S: Final = 30.0

SHARING_WORDS: Final[dict[pb.Sharing.ValueType, str]] = {
    pb.SHARING_PRIVATE: "private",
    pb.SHARING_ORGANIZATIONS: "organizations",
    pb.SHARING_PUBLIC: "public",
}
_SHARINGS: Final = {word: sharing for sharing, word in SHARING_WORDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLora:
    """A LoRA to add."""

    organization_id: str
    base_model_id: str
    name: str
    description: str
    trigger_words: Sequence[str]
    facts: LoraFacts
    file: pb.StoredFile
    file_name: str = ""
    """What a seeding finds it again by; empty: it is new whatever there is."""
    sharing: pb.Sharing.ValueType = pb.SHARING_PRIVATE
    shared_organization_ids: Sequence[str] = ()
    sample_run_id: str = ""


class HeldFile:
    """A file of the store while nobody else names it or deletes it."""

    def __init__(self, connection: Any, store_key: str) -> None:
        self._connection = connection
        self._store_key = store_key

    async def is_named(self) -> bool:
        """Whether a LoRA names the file."""
        return bool(await self._connection.fetchval(_FILES["is_file_named"], self._store_key))

    async def forget(self, grace_s: float) -> None:
        """Look at the file no more, unless it was noted within `grace_s` seconds."""
        await self._connection.execute(_FILES["forget_loose_file"], self._store_key, grace_s)

    async def put_lora(self, new: NewLora) -> pb.Lora:
        """Add a LoRA of the file, or give the owner's one of the same file name and base new contents; its id stays."""
        model_id = new_id("model")
        row = await self._connection.fetchrow(
            _SQL["put_lora"],
            model_id,
            new.organization_id,
            new.base_model_id,
            new.file_name or model_id,
            new.name,
            new.description,
            list(new.trigger_words),
            new.facts.naming,
            new.facts.rank,
            new.file.store_key,
            new.file.sha256,
            new.file.size_bytes,
            _findings(new.facts),
            SHARING_WORDS[new.sharing],
            list(new.shared_organization_ids),
            new.sample_run_id,
        )
        return _lora(row, new.organization_id)


class CatalogRepository:
    """Reads and writes; every method raises `errors.Unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check_schema(self) -> None:
        """Return if the database answers and has the tables."""
        await self._database.execute("SELECT 1 FROM catalog.base_models LIMIT 1")

    async def list_base_models(self) -> list[pb.BaseModel]:
        """All base models, newest first."""
        return [_base_model(row) for row in await self._database.fetch(_SQL["list_base_models"])]

    async def find_base_model(self, base_model_id: str) -> pb.BaseModel | None:
        """Read a base model by id."""
        row = await self._database.fetchrow(_SQL["get_base_model"], base_model_id)
        return _base_model(row) if row else None

    async def find_base_model_by_slug(self, slug: str) -> pb.BaseModel | None:
        """Read a base model by slug."""
        row = await self._database.fetchrow(_SQL["get_base_model_by_slug"], slug)
        return _base_model(row) if row else None

    async def put_base_model(self, manifest: Manifest, files: Sequence[pb.StoredFile]) -> pb.BaseModel:
        """Add a base model, or give the one of the same slug new contents; its id stays."""
        listed = [
            {"path": file.path, "store_key": file.store_key, "sha256": file.sha256, "size_bytes": file.size_bytes}
            for file in files
        ]
        row = await self._database.fetchrow(
            _SQL["put_base_model"], new_id("base"), manifest.slug, manifest.to_json(), json.dumps(listed)
        )
        return _base_model(row)

    async def list_loras(
        self,
        organization_id: str,
        *,
        after: str,
        limit: int,
        base_model_id: str = "",
        sharing: pb.Sharing.ValueType = pb.SHARING_UNSPECIFIED,
        text: str = "",
    ) -> list[pb.Lora]:
        """Up to `limit` LoRAs that the organization may use, newest first, beyond `after` (empty: from the start)."""
        pattern = "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%" if text else ""
        rows = await self._database.fetch(
            _SQL["list_loras"],
            *(organization_id, after, limit, base_model_id, SHARING_WORDS.get(sharing, ""), pattern),
        )
        return [_lora(row, organization_id) for row in rows]

    async def find_loras(self, organization_id: str, model_ids: Iterable[str]) -> dict[str, pb.Lora]:
        """Read those of the LoRAs that the organization may use, by id."""
        rows = await self._database.fetch(_SQL["get_loras"], organization_id, list(model_ids))
        return {row["model_id"]: _lora(row, organization_id) for row in rows}

    async def update_lora(
        self,
        organization_id: str,
        model_id: str,
        *,
        name: str | None,
        description: str | None,
        trigger_words: Sequence[str] | None,
        sharing: pb.Sharing.ValueType | None,
        shared_organization_ids: Sequence[str] | None,
    ) -> pb.Lora | None:
        """Change a LoRA of the organization; None where it owns no such one. What is None stays."""
        row = await self._database.fetchrow(
            _SQL["update_lora"],
            organization_id,
            model_id,
            name,
            description,
            None if trigger_words is None else list(trigger_words),
            None if sharing is None else SHARING_WORDS[sharing],
            None if shared_organization_ids is None else list(shared_organization_ids),
        )
        return _lora(row, organization_id) if row else None

    async def delete_lora(self, organization_id: str, model_id: str, *, whosever: bool = False) -> bool:
        """Delete a LoRA of the organization, or whosever it is; False where there is no such one."""
        return await self._database.fetchval(_SQL["delete_lora"], organization_id, model_id, whosever) is not None

    async def note_loose_file(self, store_key: str) -> None:
        """Have the file looked at later, lest it stays though nobody names it."""
        await self._database.execute(_FILES["note_loose_file"], store_key)

    async def list_loose_files(self, age_s: float, limit: int) -> list[str]:
        """Name files that were noted so long ago, oldest first."""
        rows = await self._database.fetch(_FILES["list_loose_files"], age_s, limit)
        return [row["store_key"] for row in rows]

    @contextlib.asynccontextmanager
    async def holding(self, store_key: str) -> AsyncIterator[HeldFile]:
        """Hold a file while the block runs; what the block wrote counts once it ends."""
        async with self._database.transaction(_HOLD_S) as connection:
            await connection.execute(_FILES["hold_file"], store_key)
            yield HeldFile(connection, store_key)


def _base_model(row: Any) -> pb.BaseModel:
    manifest = Manifest.from_json(row["manifest"])
    model = manifest.message()
    model.base_model_id = row["base_model_id"]
    model.files.extend(pb.StoredFile(**file) for file in json.loads(row["files"]))
    model.created_at.FromDatetime(row["created_at"])
    return model


def _lora(row: Any, organization_id: str) -> pb.Lora:
    """The LoRA as one organization sees it."""
    is_platforms = not row["organization_id"]
    lora = pb.Lora(
        model_id=row["model_id"],
        organization_id=row["organization_id"],
        name=row["name"],
        description=row["description"],
        base_model_id=row["base_model_id"],
        trigger_words=row["trigger_words"],
        naming=row["naming"],
        rank=row["rank"],
        file=pb.StoredFile(store_key=row["store_key"], sha256=row["sha256"], size_bytes=row["size_bytes"]),
        sharing=pb.SHARING_PUBLIC if is_platforms else _SHARINGS[row["sharing"]],
        shared_organization_ids=row["shared_with"] if row["organization_id"] == organization_id else (),
        sample_run_id=row["sample_run_id"],
    )
    if row["findings"] is not None:
        lora.check.CopyFrom(pb.LoraCheck(**json.loads(row["findings"])))
    lora.created_at.FromDatetime(row["created_at"])
    return lora


def _findings(facts: LoraFacts) -> str:
    """The fields of a LoraCheck."""
    return json.dumps(
        {
            "family": facts.family,
            "ranks": facts.ranks,
            "alphas": facts.alphas,
            "target_modules": facts.target_modules,
            "matched_keys": facts.matched_keys,
            "ignored_keys": facts.ignored_keys,
        }
    )
