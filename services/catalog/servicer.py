"""CatalogService over gRPC: checks requests, asks the repository, and remembers what it resolved for a moment."""

# ruff: noqa: N802, ARG002  # gRPC gives the methods their names and arguments

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from imagineo import page_token
from imagineo.errors import InvalidParameter, NotFound, Refused
from imagineo.ids import is_id
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import catalog_service_pb2_grpc

from services.catalog import resolve
from services.catalog.repository import CatalogRepository

CACHE_S: Final = 2.0
_CACHE_MAX_COUNT: Final = 1024
_PAGE_SIZE_DEFAULT: Final = 20
_PAGE_SIZE_MAX: Final = 100

Context = grpc.aio.ServicerContext[object, object]


class CatalogServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Answers for one event loop; the cache holds successful resolutions for `CACHE_S` seconds."""

    def __init__(self, repository: CatalogRepository) -> None:
        self._repository = repository
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
        loras = await self._repository.list_loras(request.organization_id, after=after, limit=size + 1)
        page = loras[:size]
        more = len(loras) > size
        token = page_token.encode(request.organization_id, page[-1].model_id) if more else ""
        return pb.ListLorasResponse(loras=page, next_page_token=token)

    async def GetLora(self, request: pb.GetLoraRequest, context: Context) -> pb.GetLoraResponse:
        """Read one LoRA that the organization may use."""
        found = {}
        if is_id(request.model_id, "model"):
            found = await self._repository.find_loras(request.organization_id, [request.model_id])
        if request.model_id not in found:
            raise NotFound(f"There is no model '{request.model_id[:64]}' that this account may use.")
        return pb.GetLoraResponse(lora=found[request.model_id])

    async def _resolve(self, request: pb.ResolveRequest) -> pb.ResolveResponse:
        wanted = resolve.lora_ids(request.model_id, request.extra_model_ids)
        found = await self._repository.find_loras(request.organization_id, wanted) if wanted else {}
        base_model_id, loras = resolve.choose(request.model_id, request.extra_model_ids, found)
        base_model = await self._repository.find_base_model(base_model_id)
        if base_model is None:
            raise resolve.absent_base_model(base_model_id)
        return pb.ResolveResponse(base_model=base_model, loras=loras)
