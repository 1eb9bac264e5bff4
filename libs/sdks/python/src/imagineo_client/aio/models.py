"""LoRAs and base models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from typing_extensions import Unpack

from imagineo_client.aio.drawing import Drawing
from imagineo_client.calls import Call, Listing, Page, file_of
from imagineo_client.files import File, Form, Progress
from imagineo_client.types.answers import BaseModel, BaseModels, Model, Models
from imagineo_client.types.requests import ModelChange, ModelOptions


class ModelsOfAccount:
    """`client.models`: the LoRAs that the account may use."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._transport = drawing.transport

    async def get(self, model_id: str) -> Model:
        """Read one."""
        return await self._transport.answer(Call("GET", f"/v1/models/{model_id}", Model))

    async def list(
        self,
        *,
        limit: int = 20,
        cursor: str | None = None,
        base_model_id: str | None = None,
        sharing: str | None = None,
        q: str | None = None,
    ) -> Page[Model]:
        """One page, newest first; `q` searches names, descriptions and trigger words."""
        return await self._transport.page(_listing(base_model_id, sharing, q), limit, cursor)

    def iterate(
        self,
        *,
        base_model_id: str | None = None,
        sharing: str | None = None,
        q: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Model]:
        """All of them."""
        return self._transport.items(_listing(base_model_id, sharing, q), page_size)

    async def upload(
        self,
        file: File,
        *,
        name: str,
        base_model_id: str | None = None,
        on_progress: Progress | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model:
        """Send a LoRA's safetensors file, by its path or as bytes; it is checked before it is accepted.

        Args:
            file: in the naming of diffusers, PEFT or kohya-ss.
            name: for people.
            base_model_id: what it is made for; else the platform's first base model.
            on_progress: told of the bytes sent so far, and of all.
            **options: description, trigger_words, sharing, shared_with.
        """
        fields = {"name": name, "base_model_id": base_model_id or await self._drawing.usual_base_model()}
        form = Form(file, fields={**fields, **cast("dict[str, str]", options)}, on_progress=on_progress)
        return await self._transport.answer(file_of("/v1/models", Model, form, "model_file_limit_bytes"))

    async def update(self, model_id: str, **changes: Unpack[ModelChange]) -> Model:
        """Change one of yours; what is not named stays."""
        return await self._transport.answer(Call("PATCH", f"/v1/models/{model_id}", Model, body=changes))

    async def delete(self, model_id: str) -> None:
        """Delete one of yours for good."""
        await self._transport.done(Call("DELETE", f"/v1/models/{model_id}", type(None)))


class BaseModelsOfPlatform:
    """`client.base_models`."""

    def __init__(self, drawing: Drawing) -> None:
        self._transport = drawing.transport

    async def list(self) -> list[BaseModel]:
        """All of them."""
        return (await self._transport.answer(Call("GET", "/v1/base-models", BaseModels))).base_models


def _listing(base_model_id: str | None, sharing: str | None, q: str | None) -> Listing[Model]:
    query = {"base_model_id": base_model_id, "sharing": sharing, "q": q}
    return Listing("/v1/models", Models, lambda answer: answer.models, query)
