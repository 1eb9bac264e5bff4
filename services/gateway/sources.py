"""Finds the picture that a run begins from: of a run, of an upload, or one that comes with the request."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Sequence

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import (
    account_pb2,
    catalog_service_pb2,
    generation_pb2,
    generation_service_pb2,
    upload_pb2,
    upload_service_pb2,
)

from services.gateway.admission import Request
from services.gateway.beginning import Beginning, check_scale
from services.gateway.peers import Peers
from services.gateway.preferences import Preferences
from services.gateway.replay import keys_of
from services.gateway.sourced import Sourced, upscale, variation
from services.gateway.submission import MAX_SEED
from services.gateway.together import Several
from services.gateway.uploads import Uploads


class Sources:
    """Makes requests of what is asked for with a picture."""

    def __init__(self, peers: Peers, uploads: Uploads) -> None:
        self._peers = peers
        self._uploads = uploads

    def several(self, asked: Sourced, preferences: Preferences, body: bytes) -> Several:
        """The runs of one request, to be made once it is known who asks."""
        kept: list[upload_pb2.Upload] = []

        async def make(principal: account_pb2.Principal) -> Sequence[Request]:
            beginning = await self._beginning(principal, asked, kept)
            return await self._requests(asked, beginning, preferences, body)

        async def undo() -> None:
            for upload in kept:
                names = upload_service_pb2.DeleteUploadRequest(
                    organization_id=upload.organization_id, upload_id=upload.upload_id
                )
                with contextlib.suppress(errors.ImagineoError):  # it ends with its time
                    await self._peers.ask(self._peers.uploads.DeleteUpload, names)

        return Several(asked.count, preferences, body, make, undo)

    async def _requests(
        self, asked: Sourced, beginning: Beginning, preferences: Preferences, body: bytes
    ) -> list[Request]:
        if asked.scale:
            check_scale(beginning.source.image, asked.scale)
            own = beginning.own
            base_model_id = own.base_model_id if own is not None else await self._enlarging_base_model(asked)
            return [Request(upscale(asked, own, base_model_id), preferences, body, beginning)]
        seed = asked.values["seed"] if "seed" in asked.values else secrets.randbelow(MAX_SEED + 1)
        keys = keys_of(preferences.idempotency_key, asked.count) if preferences.idempotency_key else [""] * asked.count
        return [
            Request(
                variation(asked, beginning.own, seed, index),
                dataclasses.replace(preferences, idempotency_key=key),
                body,
                beginning,
            )
            for index, key in enumerate(keys)
        ]

    async def _beginning(
        self, principal: account_pb2.Principal, asked: Sourced, keeps: list[upload_pb2.Upload]
    ) -> Beginning:
        source = generation_pb2.Source(
            kind=asked.kind,
            run_id=asked.run_id,
            upload_id=asked.upload_id,
            strength=0.0 if asked.scale else asked.strength,
            scale=asked.scale,
        )
        if asked.run_id:
            run = await self._run(principal.organization_id, asked.run_id)
            source.image.CopyFrom(run.image)
            return Beginning(source, run.parameters)
        if asked.upload_id:
            names = upload_service_pb2.GetUploadRequest(
                organization_id=principal.organization_id, upload_id=asked.upload_id
            )
            found = await self._peers.ask(self._peers.uploads.GetUpload, names)
            source.image.CopyFrom(found.upload.image)
            return Beginning(source)
        try:
            if asked.dry_run:
                source.image.CopyFrom(await self._uploads.measure(asked.image))
                return Beginning(source)
            kept = await self._uploads.keep(principal, asked.image)
        except (errors.InvalidFile, errors.BodyTooLarge) as problem:
            problem.metadata["param"] = "image"
            raise
        keeps.append(kept)
        source.upload_id = kept.upload_id
        source.image.CopyFrom(kept.image)
        return Beginning(source)

    async def _run(self, organization_id: str, run_id: str) -> generation_pb2.Generation:
        if not is_id(run_id, "gen"):
            raise errors.NotFound("There is no such generation.", metadata={"run_id": run_id})
        names = generation_service_pb2.GetGenerationRequest(organization_id=organization_id, run_id=run_id)
        found = await self._peers.ask(self._peers.status.GetGeneration, names)
        run: generation_pb2.Generation = found.generation
        if run.status != generation_pb2.STATUS_COMPLETED or not run.HasField("image"):
            raise errors.FailedPrecondition(
                "The generation is not completed: there is no picture to begin from.", metadata={"run_id": run_id}
            )
        return run

    async def _enlarging_base_model(self, asked: Sourced) -> str:
        """The base model whose upscaler enlarges an upload: the one asked for, else the first that has one."""
        if "model_id" in asked.values:
            return str(asked.values["model_id"])
        page = await self._peers.ask(self._peers.catalog.ListBaseModels, catalog_service_pb2.ListBaseModelsRequest())
        bases = sorted(page.base_models, key=lambda base: (not base.upscaler, base.created_at.ToNanoseconds()))
        if not bases:
            raise errors.ModelNotFound("There is no base model.", metadata={"param": "model_id"})
        return str(bases[0].base_model_id)
