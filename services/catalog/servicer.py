"""CatalogService over gRPC: checks requests, asks the repository, and remembers what it resolved for a moment."""

# ruff: noqa: N802, ARG002  # gRPC gives the methods their names and arguments

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import grpc
from imagineo import page_token
from imagineo.errors import FailedPrecondition, ImagineoError, InvalidParameter, NotFound, PermissionDenied, Refused
from imagineo.ids import is_id
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import catalog_service_pb2_grpc, model_pb2

from services.catalog import draft, resolve
from services.catalog.repository import SHARING_WORDS, CatalogRepository
from services.catalog.uploads import LoraUploads

CACHE_S: Final = 2.0
_CACHE_MAX_COUNT: Final = 1024
_PAGE_SIZE_DEFAULT: Final = 20
_PAGE_SIZE_MAX: Final = 100
_TEXT_MAX_CHARACTERS: Final = 100

Context = grpc.aio.ServicerContext[object, object]


class CatalogServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Answers for one event loop; the cache holds successful resolutions for `CACHE_S` seconds.

    Args:
        repository: the rows.
        uploads: takes files; None where there is no store to put them.
    """

    def __init__(self, repository: CatalogRepository, uploads: LoraUploads | None = None) -> None:
        self._repository = repository
        self._uploads = uploads
        self._resolved: dict[bytes, tuple[float, pb.ResolveResponse]] = {}

    async def Resolve(self, request: pb.ResolveRequest, context: Context) -> pb.ResolveResponse:
        """Turn model ids into a base model and LoRAs; a refusal is the answer's `error`."""
        key = request.SerializeToString(deterministic=True)
        now_s = asyncio.get_running_loop().time()
        expires_s, answer = self._resolved.get(key, (0.0, None))
        if answer is not None and now_s < expires_s:
            return answer
        try:
            answer = await self._resolve(request)
        except Refused as refusal:
            return pb.ResolveResponse(error=refusal.detail())
        if len(self._resolved) >= _CACHE_MAX_COUNT:
            self._resolved.clear()
        self._resolved[key] = (now_s + CACHE_S, answer)
        return answer

    async def ListBaseModels(self, request: pb.ListBaseModelsRequest, context: Context) -> pb.ListBaseModelsResponse:
        """List all base models, newest first."""
        return pb.ListBaseModelsResponse(base_models=await self._repository.list_base_models())

    async def GetBaseModel(self, request: pb.GetBaseModelRequest, context: Context) -> pb.GetBaseModelResponse:
        """Read one base model by id or slug."""
        if bool(request.base_model_id) == bool(request.slug):
            raise InvalidParameter("Give either base_model_id or slug.", metadata={"param": "base_model_id"})
        model = (
            await self._repository.find_base_model(request.base_model_id)
            if request.base_model_id
            else await self._repository.find_base_model_by_slug(request.slug)
        )
        if model is None:
            raise NotFound(f"There is no base model '{(request.base_model_id or request.slug)[:64]}'.")
        return pb.GetBaseModelResponse(base_model=model)

    async def ListLoras(self, request: pb.ListLorasRequest, context: Context) -> pb.ListLorasResponse:
        """List one page of the LoRAs that an organization may use."""
        size = request.page_size or _PAGE_SIZE_DEFAULT
        if not 1 <= size <= _PAGE_SIZE_MAX:
            raise InvalidParameter.of("page_size", f"a whole number from 1 to {_PAGE_SIZE_MAX}")
        after = page_token.decode(request.organization_id, request.page_token, "model") if request.page_token else ""
        if len(request.text) > _TEXT_MAX_CHARACTERS or "\0" in request.text:
            raise InvalidParameter.of("text", f"a string of 0 to {_TEXT_MAX_CHARACTERS} characters")
        if request.sharing and request.sharing not in SHARING_WORDS:
            raise InvalidParameter.of("sharing", "one of private, organizations, public")
        if request.base_model_id and not is_id(request.base_model_id, "base"):
            return pb.ListLorasResponse()
        loras = await self._repository.list_loras(
            request.organization_id,
            after=after,
            limit=size + 1,
            base_model_id=request.base_model_id,
            sharing=request.sharing,
            text=request.text,
        )
        page = loras[:size]
        more = len(loras) > size
        token = page_token.encode(request.organization_id, page[-1].model_id) if more else ""
        return pb.ListLorasResponse(loras=page, next_page_token=token)

    async def GetLora(self, request: pb.GetLoraRequest, context: Context) -> pb.GetLoraResponse:
        """Read one LoRA that the organization may use."""
        return pb.GetLoraResponse(lora=await self._find(request.organization_id, request.model_id))

    async def CreateLora(
        self, request_iterator: AsyncIterator[pb.CreateLoraRequest], context: Context
    ) -> pb.CreateLoraResponse:
        """Take a LoRA's file, check it and add the LoRA."""
        if self._uploads is None:
            raise FailedPrecondition("This platform takes no models: its catalog has no object store.")
        return pb.CreateLoraResponse(lora=await self._uploads.create(request_iterator))

    async def UpdateLora(self, request: pb.UpdateLoraRequest, context: Context) -> pb.UpdateLoraResponse:
        """Change a LoRA of the organization."""
        draft.check_change(request)
        changes = request.HasField("sharing")
        lora = await self._repository.update_lora(
            request.organization_id,
            request.model_id if is_id(request.model_id, "model") else "",
            name=request.name if request.HasField("name") else None,
            description=request.description if request.HasField("description") else None,
            trigger_words=request.trigger_words.words if request.HasField("trigger_words") else None,
            sharing=request.sharing.sharing if changes else None,
            shared_organization_ids=request.sharing.shared_organization_ids if changes else None,
        )
        self._resolved.clear()
        if lora is None:
            raise await self._not_owned(request.organization_id, request.model_id)
        return pb.UpdateLoraResponse(lora=lora)

    async def DeleteLora(self, request: pb.DeleteLoraRequest, context: Context) -> pb.DeleteLoraResponse:
        """Delete a LoRA of the organization."""
        model_id = request.model_id if is_id(request.model_id, "model") else ""
        gone = await self._repository.delete_lora(request.organization_id, model_id)
        self._resolved.clear()
        if not gone:
            raise await self._not_owned(request.organization_id, request.model_id)
        return pb.DeleteLoraResponse()

    async def _find(self, organization_id: str, model_id: str) -> model_pb2.Lora:
        found = {}
        if is_id(model_id, "model"):
            found = await self._repository.find_loras(organization_id, [model_id])
        if model_id not in found:
            raise NotFound(f"There is no model '{model_id[:64]}' that this account may use.")
        return found[model_id]

    async def _not_owned(self, organization_id: str, model_id: str) -> ImagineoError:
        """Why a LoRA could not be changed: the asker may only use it, or does not see it at all."""
        try:
            lora = await self._find(organization_id, model_id)
        except NotFound as absent:
            return absent
        owner = "another organization" if lora.organization_id else "the platform"
        return PermissionDenied(f"The model '{lora.model_id}' belongs to {owner}; it can be used, not changed.")

    async def _resolve(self, request: pb.ResolveRequest) -> pb.ResolveResponse:
        wanted = resolve.lora_ids(request.model_id, request.extra_model_ids)
        found = await self._repository.find_loras(request.organization_id, wanted) if wanted else {}
        base_model_id, loras = resolve.choose(request.model_id, request.extra_model_ids, found)
        base_model = await self._repository.find_base_model(base_model_id)
        if base_model is None:
            raise resolve.absent_base_model(base_model_id)
        return pb.ResolveResponse(base_model=base_model, loras=loras)
