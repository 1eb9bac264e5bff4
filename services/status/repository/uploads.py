"""Stores what is known of uploaded pictures; the pictures lie in the object store."""

from __future__ import annotations

from collections.abc import Sequence

from imagineo.postgres.pool import Database
from imagineo.v1 import upload_pb2
from imagineo.wire.times import moment

from services.status.repository import queries, refused_data

_SQL = queries("uploads")


class Uploads:
    """Reads and writes; every call is one statement, but for `add`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, upload: upload_pb2.Upload) -> upload_pb2.Upload | None:
        """Store one; where its id is there already, gives that one, None if it is another organization's."""
        with refused_data():
            await self._database.execute(
                _SQL["insert_upload"],
                upload.upload_id,
                upload.organization_id,
                moment(upload.expires_at),
                upload.SerializeToString(),
            )
        return await self.find(upload.organization_id, upload.upload_id)

    async def find(self, organization_id: str, upload_id: str) -> upload_pb2.Upload | None:
        """An organization's; None if it is absent or past its time."""
        row = await self._database.fetchrow(_SQL["get_upload"], upload_id)
        if row is None or row["organization_id"] != organization_id:
            return None
        return upload_pb2.Upload.FromString(row["upload"])

    async def expired(self, limit: int) -> list[upload_pb2.Upload]:
        """Some that are past their time."""
        rows = await self._database.fetch(_SQL["expired_uploads"], limit)
        return [upload_pb2.Upload.FromString(row["upload"]) for row in rows]

    async def delete(self, upload_ids: Sequence[str]) -> None:
        """Forget them."""
        await self._database.execute(_SQL["delete_uploads"], list(upload_ids))
