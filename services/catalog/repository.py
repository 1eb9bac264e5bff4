"""The catalog's rows in Postgres, as protocol messages. What may be combined with what is `resolve.py`'s affair."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from imagineo.ids import new_id
from imagineo.postgres.pool import Database
from imagineo.postgres.queries import load
from imagineo.v1 import model_pb2 as pb

from services.catalog.lora_file import LoraFacts
from services.catalog.manifest import Manifest

_SQL: Final = load(Path(__file__).parent / "sql" / "models.sql")


class CatalogRepository:
    """Reads and writes; every method raises `errors.Unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

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

    async def list_loras(self, organization_id: str, *, after: str, limit: int) -> list[pb.Lora]:
        """Up to `limit` LoRAs that the organization may use, newest first, beyond `after` (empty: from the start)."""
        rows = await self._database.fetch(_SQL["list_loras"], organization_id, after, limit)
        return [_lora(row) for row in rows]

    async def find_loras(self, organization_id: str, model_ids: Iterable[str]) -> dict[str, pb.Lora]:
        """Read those of the LoRAs that the organization may use, by id."""
        rows = await self._database.fetch(_SQL["get_loras"], organization_id, list(model_ids))
        return {row["model_id"]: _lora(row) for row in rows}

    async def put_lora(
        self,
        *,
        organization_id: str,
        base_model_id: str,
        file_name: str,
        name: str,
        description: str,
        trigger_words: Sequence[str],
        facts: LoraFacts,
        file: pb.StoredFile,
    ) -> pb.Lora:
        """Add a LoRA, or give the owner's one of the same file name and base new contents; its id stays."""
        row = await self._database.fetchrow(
            _SQL["put_lora"],
            new_id("model"),
            organization_id,
            base_model_id,
            file_name,
            name,
            description,
            list(trigger_words),
            facts.naming,
            facts.rank,
            file.store_key,
            file.sha256,
            file.size_bytes,
        )
        return _lora(row)


def _base_model(row: Any) -> pb.BaseModel:
    manifest = Manifest.from_json(row["manifest"])
    model = manifest.message()
    model.base_model_id = row["base_model_id"]
    model.files.extend(pb.StoredFile(**file) for file in json.loads(row["files"]))
    model.created_at.FromDatetime(row["created_at"])
    return model


def _lora(row: Any) -> pb.Lora:
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
    )
    lora.created_at.FromDatetime(row["created_at"])
    return lora
