"""Translates UploadService: messages in, domain calls, messages out. Names and comments are the protocol's."""

from __future__ import annotations

from typing import Any

from imagineo.v1 import upload_service_pb2 as pb
from imagineo.v1 import upload_service_pb2_grpc as grpc

from services.status.upload_shelf import UploadShelf


class UploadServicer(grpc.UploadServiceServicer):
    """Answers the RPCs."""

    def __init__(self, shelf: UploadShelf) -> None:
        self._shelf = shelf

    async def CreateUpload(self, request: pb.CreateUploadRequest, context: Any) -> pb.CreateUploadResponse:  # noqa: N802, ARG002
        """Note a picture."""
        return pb.CreateUploadResponse(upload=await self._shelf.note(request.upload))

    async def GetUpload(self, request: pb.GetUploadRequest, context: Any) -> pb.GetUploadResponse:  # noqa: N802, ARG002
        """Read one."""
        return pb.GetUploadResponse(upload=await self._shelf.find(request.organization_id, request.upload_id))

    async def DeleteUpload(self, request: pb.DeleteUploadRequest, context: Any) -> pb.DeleteUploadResponse:  # noqa: N802, ARG002
        """Delete one."""
        await self._shelf.delete(request.organization_id, request.upload_id)
        return pb.DeleteUploadResponse()
