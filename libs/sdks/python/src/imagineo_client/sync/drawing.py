"""Everything that draws: submits, and gives the handles of what was accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from imagineo_client.calls import Call, submit
from imagineo_client.errors import NotFoundError
from imagineo_client.sources import Source, id_of, picture_of
from imagineo_client.sync.transport import Transport
from imagineo_client.sync.uploads import Uploads
from imagineo_client.types.answers import BaseModels, DryRun, Submitted, SubmittedSeveral
from imagineo_client.types.requests import GenerateOptions, ReplayOptions, UpscaleOptions, VariationsOptions

if TYPE_CHECKING:
    from imagineo_client.sync.runs import Run


class Drawing:
    """Submits runs. The usual model is the caller's, else the platform's first base model, asked for once."""

    def __init__(self, transport: Transport, uploads: Uploads, model_id: str | None) -> None:
        self.transport = transport
        self._uploads = uploads
        self._model_id = model_id
        self._base_model_id: str | None = None

    def generate(
        self,
        positive_prompt: str,
        model_id: str | None,
        idempotency_key: str | None,
        cancel_after_s: int | None,
        options: GenerateOptions,
    ) -> Run:
        """Queue one picture."""
        body = {"positive_prompt": positive_prompt, "model_id": model_id or self.usual_model(), **options}
        return self._submitted("/v1/generate", body, idempotency_key, cancel_after_s)

    def dry_run(self, positive_prompt: str, model_id: str | None, options: GenerateOptions) -> DryRun:
        """Check and price, and queue nothing."""
        body = {"positive_prompt": positive_prompt, "model_id": model_id or self.usual_model(), **options}
        return self.transport.answer(Call("POST", "/v1/generate", DryRun, body={**body, "dry_run": True}))

    def replay(self, run_id: str, **options: Unpack[ReplayOptions]) -> Run:
        """Draw one again, to compare."""
        return self._submitted(f"/v1/generations/{run_id}/replay", options)

    def upscale(self, source: Source, scale: int = 2, **options: Unpack[UpscaleOptions]) -> Run:
        """Enlarge a picture."""
        path, begun = self._begun(source, "upscale", "/v1/upscales")
        return self._submitted(path, {**begun, "scale": scale, **options})

    def variations(
        self, source: Source, count: int = 1, strength: float | None = None, **options: Unpack[VariationsOptions]
    ) -> list[Run]:
        """Draw pictures like one."""
        path, begun = self._begun(source, "variations", "/v1/variations")
        body = {**begun, "count": count, **({} if strength is None else {"strength": strength}), **options}
        if begun and "model_id" not in body:
            body["model_id"] = self.usual_model()
        if count == 1:  # one is answered as a submit is
            return [self._submitted(path, body)]
        call = submit(path, SubmittedSeveral, body, idempotency_key=None, cancel_after_s=None)
        return [self.handle(one.run_id, one) for one in (self.transport.answer(call)).generations]

    def usual_model(self) -> str:
        """The model of requests that name none."""
        return self._model_id or self.usual_base_model()

    def usual_base_model(self) -> str:
        """The platform's first base model."""
        if self._base_model_id is None:
            found = (self.transport.answer(Call("GET", "/v1/base-models", BaseModels))).base_models
            if not found:
                raise NotFoundError("The platform has no base model yet.", status=404)
            self._base_model_id = found[0].id
        return self._base_model_id

    def handle(self, run_id: str, submitted: Submitted | None = None) -> Run:
        """The handle of a run that is there."""
        from imagineo_client.sync.runs import Run  # noqa: PLC0415 - a run draws others, and drawing makes runs

        return Run(self, run_id, submitted=submitted)

    def _submitted(
        self, path: str, body: Any, idempotency_key: str | None = None, cancel_after_s: int | None = None
    ) -> Run:
        call = submit(path, Submitted, body, idempotency_key=idempotency_key, cancel_after_s=cancel_after_s)
        accepted = self.transport.answer(call)
        return self.handle(accepted.run_id, accepted)

    def _begun(self, source: Source, of_run: str, of_picture: str) -> tuple[str, dict[str, str]]:
        """Where a request goes that begins from a source, and what its body says of it."""
        found = id_of(source)
        if found is None:
            found = (self._uploads.create(picture_of(source))).upload_id
        if found.startswith("up_"):
            return of_picture, {"upload_id": found}
        return f"/v1/generations/{found}/{of_run}", {}
