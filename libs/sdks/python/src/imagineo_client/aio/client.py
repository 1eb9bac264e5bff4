"""The client: the door to everything."""

from __future__ import annotations

from types import TracebackType

import httpx
from typing_extensions import Self, Unpack

from imagineo_client import environment
from imagineo_client.aio.account import KeysOfAccount, LimitsOfAccount, UsageOfAccount
from imagineo_client.aio.batches import AsyncBatchRun, BatchesOfAccount
from imagineo_client.aio.drawing import Drawing
from imagineo_client.aio.generations import GenerationsOfAccount
from imagineo_client.aio.models import BaseModelsOfPlatform, ModelsOfAccount
from imagineo_client.aio.organization import OrganizationOfAccount
from imagineo_client.aio.runs import AsyncRun
from imagineo_client.aio.transport import Transport
from imagineo_client.aio.uploads import Uploads
from imagineo_client.aio.webhooks import WebhooksOfAccount
from imagineo_client.pictures import Picture
from imagineo_client.retries import RetryPolicy
from imagineo_client.sources import Source
from imagineo_client.types.answers import DryRun
from imagineo_client.types.requests import GenerateOptions, UpscaleOptions, VariationsOptions


class AsyncImagineo:
    """A connection to one platform with one key. Close it when done, or use it in a `with` block.

    Args:
        api_key: else `IMAGINEO_API_KEY`.
        base_url: else `IMAGINEO_URL`, else this machine's `http://127.0.0.1:8000`.
        model_id: of requests that name none; else `IMAGINEO_MODEL`, else the platform's first base model.
        timeout_s: of connecting, and of every wait for an answer.
        max_retries: how often a request goes again.
        http_client: a client of httpx with settings of your own, which you close yourself.

    Raises:
        MissingApiKeyError: without a key.
        ValueError: if the address is no URL.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        model_id: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 4,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._transport = Transport(
            environment.base_url(base_url),
            environment.api_key(api_key),
            timeout_s=timeout_s,
            policy=RetryPolicy(max_retries),
            http_client=http_client,
        )
        self.uploads = Uploads(self._transport)
        self._drawing = Drawing(self._transport, self.uploads, environment.model_id(model_id))
        self.generations = GenerationsOfAccount(self._drawing)
        self.batches = BatchesOfAccount(self._drawing)
        self.models = ModelsOfAccount(self._drawing)
        self.base_models = BaseModelsOfPlatform(self._drawing)
        self.keys = KeysOfAccount(self._transport)
        self.limits = LimitsOfAccount(self._transport)
        self.usage = UsageOfAccount(self._transport)
        self.organization = OrganizationOfAccount(self._transport)
        self.webhooks = WebhooksOfAccount(self._transport)

    @property
    def base_url(self) -> str:
        """Where the platform is."""
        return self._transport.base_url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def generate(
        self,
        positive_prompt: str,
        *,
        model_id: str | None = None,
        idempotency_key: str | None = None,
        cancel_after_s: int | None = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncRun:
        """Queue one picture and give its handle at once.

        Args:
            positive_prompt: what is to be seen.
            model_id: a LoRA or a base model.
            idempotency_key: the same key gives the same run for 24 hours; else a random one for this call.
            cancel_after_s: if it has not begun by then, it expires.
            **options: negative_prompt, lora_weight, loras, guidance, width, height, steps, seed, scheduler,
                output_format, metadata, webhook_url.

        Raises:
            ApiError: if it is refused.
            ConnectionFailedError: if nobody answers.
        """
        return await self._drawing.generate(positive_prompt, model_id, idempotency_key, cancel_after_s, options)

    async def dry_run(
        self, positive_prompt: str, *, model_id: str | None = None, **options: Unpack[GenerateOptions]
    ) -> DryRun:
        """Check and price the same request, and queue nothing."""
        return await self._drawing.dry_run(positive_prompt, model_id, options)

    async def upscale(self, source: Source, scale: int = 2, **options: Unpack[UpscaleOptions]) -> AsyncRun:
        """Enlarge a picture 2 or 4 times: a run's, an upload's, or one of your own by its path or bytes."""
        return await self._drawing.upscale(source, scale, **options)

    async def variations(
        self, source: Source, count: int = 1, strength: float | None = None, **options: Unpack[VariationsOptions]
    ) -> list[AsyncRun]:
        """Draw 1 to 8 pictures like one: a run's, an upload's, or one of your own by its path or bytes."""
        return await self._drawing.variations(source, count, strength, **options)

    async def download(self, url: str) -> Picture:
        """Fetch the picture behind a signed link, such as a result's `image_url`."""
        return await self._transport.download(url)

    def run(self, run_id: str) -> AsyncRun:
        """The handle of a run that is there, without a request."""
        return self._drawing.handle(run_id)

    def batch(self, batch_id: str) -> AsyncBatchRun:
        """The handle of a batch that is there, without a request."""
        return AsyncBatchRun(self._drawing, batch_id)
