"""Uploaded pictures with their time: noted before they are stored, deleted from the store before they are forgotten."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from imagineo import errors
from imagineo.blobs.port import Blobs
from imagineo.ids import is_id
from imagineo.v1 import upload_pb2
from imagineo.wire.times import timestamp

from services.status.repository.uploads import Uploads

log = logging.getLogger(__name__)

PASS_S: Final = 60.0
_BATCH: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class UploadShelf:
    """Whatever dies in between, a picture in the store has a row that ends it in time."""

    def __init__(self, uploads: Uploads, blobs: Blobs, retention_days: int) -> None:
        self._uploads, self._blobs = uploads, blobs
        self._keep = timedelta(days=retention_days)

    async def note(self, upload: upload_pb2.Upload) -> upload_pb2.Upload:
        """Note one that will be stored now; gives it with its times.

        Raises:
            InvalidParameter: if it cannot be one.
            AlreadyExists: if its id is somebody else's.
        """
        check(upload)
        now = datetime.now(UTC)
        timed = upload_pb2.Upload(created_at=timestamp(now), expires_at=timestamp(now + self._keep))
        timed.MergeFrom(upload)
        kept = await self._uploads.add(timed)
        if kept is None:
            raise errors.AlreadyExists("There is an upload with this id already.")
        return kept

    async def find(self, organization_id: str, upload_id: str) -> upload_pb2.Upload:
        """Read one.

        Raises:
            NotFound: if it is absent, past its time, or not the organization's.
        """
        found = await self._uploads.find(organization_id, upload_id) if is_id(upload_id, "up") else None
        if found is None:
            raise errors.NotFound("There is no such upload.", metadata={"upload_id": upload_id})
        return found

    async def delete(self, organization_id: str, upload_id: str) -> None:
        """Delete one for good.

        Raises:
            NotFound: as `find`.
        """
        found = await self.find(organization_id, upload_id)
        await self._blobs.delete(found.image.store_key)
        await self._uploads.delete([upload_id])

    async def run(self) -> None:
        """Delete what is past its time, for ever."""
        while True:
            try:
                await self.forget()
            except (errors.ImagineoError, ValueError) as problem:
                log.warning("the deletion of uploads waits: %s", problem)
            await asyncio.sleep(PASS_S)

    async def forget(self) -> int:
        """Delete what is past its time; gives how many."""
        count = 0
        while batch := await self._uploads.expired(_BATCH):
            for upload in batch:
                await self._blobs.delete(upload.image.store_key)
            await self._uploads.delete([upload.upload_id for upload in batch])
            count += len(batch)
        return count


def store_key(organization_id: str, upload_id: str) -> str:
    """Where an upload's picture lies."""
    return f"uploads/{organization_id}/{upload_id}.png"


def check(upload: upload_pb2.Upload) -> None:
    """Refuse what cannot be an upload: what is deleted by it later is no other's.

    Raises:
        InvalidParameter: naming the field.
    """
    if not is_id(upload.upload_id, "up"):
        raise errors.InvalidParameter.of("upload_id", "an id of the form up_…")
    if not _NAME.fullmatch(upload.organization_id):
        raise errors.InvalidParameter.of("organization_id", "1 to 128 letters, digits, dots, dashes or underscores")
    if upload.image.store_key != store_key(upload.organization_id, upload.upload_id):
        raise errors.InvalidParameter.of("image.store_key", "the upload's own place")
    if upload.image.width < 1 or upload.image.height < 1:
        raise errors.InvalidParameter.of("image", "a picture with sides")
