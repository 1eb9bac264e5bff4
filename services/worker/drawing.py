"""A job to its drawn picture: files fetched and held, the engine asked. Draws or enlarges, as the job's source says."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

from imagineo.blobs.port import Blobs
from imagineo.errors import NotFound
from imagineo.v1 import generation_pb2, job_pb2
from PIL import Image

from services.worker import metrics
from services.worker.adapter_cache import AdapterCache
from services.worker.engine.base import (
    AdapterUse,
    DrawRequest,
    DrawResult,
    Engine,
    Progress,
    SourceImage,
    StopSignal,
    UpscaleRequest,
)
from services.worker.engine.failures import SourceMissing
from services.worker.engine.stopping import unless_stopped
from services.worker.stages import timed

log = logging.getLogger(__name__)

#: The file types that the gateway stores.
_FORMATS: Final = ("PNG", "JPEG", "WEBP")


class Drawing:
    """Draws jobs with one engine; any number of calls may be awaited side by side."""

    def __init__(self, blobs: Blobs, adapters: AdapterCache, engine: Engine) -> None:
        self._blobs = blobs
        self._adapters = adapters
        self._engine = engine

    @contextlib.asynccontextmanager
    async def prefetching(self, job: job_pb2.Job) -> AsyncIterator[None]:
        """Have the job's LoRAs on their way into memory until `draw` takes them over, or the block ends.

        What fails is met again, and told, by `draw`.
        """
        task = asyncio.create_task(self._prefetch(job), name=f"prefetch {job.run_id}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def draw(
        self, job: job_pb2.Job, *, stop: StopSignal, on_progress: Callable[[Progress], None], resume: bytes | None
    ) -> DrawResult:
        """Draw a job, from where another worker left it where that is known.

        Raises:
            DrawStopped: if `stop` was set in time.
            DrawFailed: if it cannot be drawn.
            Unavailable: if the store is away.
        """
        source = job.parameters.source if job.parameters.HasField("source") else None
        if source is not None and source.kind == generation_pb2.SOURCE_KIND_UPSCALE:
            image = await unless_stopped(stop, self._picture(source))
            request = UpscaleRequest(
                job.run_id, job.base_model_slug, image.width, image.height, image.tobytes(), source.scale
            )
            return await self._engine.upscale(request, stop=stop, on_progress=on_progress)
        begins_from = (
            None if source is None else _source(await unless_stopped(stop, self._picture(source)), source.strength)
        )
        used = _used(job)
        async with contextlib.AsyncExitStack() as stack:
            with timed("fetch"):
                holding = stack.enter_async_context(self._adapters.hold(one.file for one in used))
                paths = await unless_stopped(stop, holding)
            asked = _request(job, _uses(used, paths), begins_from, resume)
            drawn = await self._engine.draw(asked, stop=stop, on_progress=on_progress)
        for stage, seconds in drawn.stage_s.items():
            metrics.STAGE_SECONDS.labels(stage).observe(seconds)
        return drawn

    async def _prefetch(self, job: job_pb2.Job) -> None:
        used = _used(job)
        try:
            async with self._adapters.hold(one.file for one in used) as paths:
                uses = _uses(used, paths)
                await asyncio.gather(*(self._engine.read_ahead(job.base_model_slug, use) for use in uses))
        except Exception as problem:  # noqa: BLE001 - the run itself will say
            log.debug("a LoRA was not read ahead: %s", problem)

    async def _picture(self, source: generation_pb2.Source) -> Image.Image:
        try:
            content = await self._blobs.get(source.image.store_key)
        except NotFound as problem:
            raise SourceMissing from problem
        return await asyncio.to_thread(_decoded, content, source.image.sha256)


def _used(job: job_pb2.Job) -> list[job_pb2.Adapter]:
    """A weight of 0 is the base model's picture: its file need not even be there."""
    return [one for one in job.adapters if one.weight != 0]


def _uses(used: Sequence[job_pb2.Adapter], paths: Sequence[Path]) -> tuple[AdapterUse, ...]:
    return tuple(
        AdapterUse(one.model_id, one.file.sha256, path, one.weight) for one, path in zip(used, paths, strict=True)
    )


def _request(
    job: job_pb2.Job, adapters: tuple[AdapterUse, ...], source: SourceImage | None, resume: bytes | None
) -> DrawRequest:
    parameters = job.parameters
    return DrawRequest(
        run_id=job.run_id,
        base_model_slug=job.base_model_slug,
        positive_prompt=parameters.positive_prompt,
        negative_prompt=parameters.negative_prompt,
        adapters=adapters,
        guidance=parameters.guidance,
        width_px=parameters.width,
        height_px=parameters.height,
        steps=parameters.steps,
        seed=parameters.seed,
        scheduler=parameters.scheduler,
        source=source,
        organization_id=job.organization_id,
        deadline_s=job.deadline.ToMilliseconds() / 1000 if job.HasField("deadline") else None,
        resume=resume,
    )


def _source(image: Image.Image, strength: float) -> SourceImage:
    return SourceImage(image.width, image.height, image.tobytes(), strength)


def _decoded(content: bytes, sha256: str) -> Image.Image:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SourceMissing("The picture that the run starts from is damaged in the store.")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise SourceMissing(f"The picture that the run starts from cannot be read: {problem}.") from problem
