"""Fills in what a base model decides: defaults, ranges, LoRA files; and makes the job. Pure."""

from __future__ import annotations

from typing import Final

from imagineo import errors
from imagineo.jobs.lanes import lane_of
from imagineo.telemetry import tracing
from imagineo.v1 import account_pb2, catalog_service_pb2, generation_pb2, job_pb2, model_pb2

from services.gateway.submission import MIN_SIDE_PX, SIDE_STEP_PX, Wanted

FORMATS: Final[dict[str, generation_pb2.OutputFormat.ValueType]] = {
    "png": generation_pb2.OUTPUT_FORMAT_PNG,
    "webp": generation_pb2.OUTPUT_FORMAT_WEBP,
    "jpeg": generation_pb2.OUTPUT_FORMAT_JPEG,
}


def check_lora_ids(wanted: Wanted) -> None:
    """Refuse a LoRA that is asked for twice.

    Raises:
        InvalidParameter: naming the repetition.
    """
    seen = {wanted.model_id}
    for index, lora in enumerate(wanted.loras):
        if lora.model_id in seen:
            raise errors.InvalidParameter.of(f"loras[{index}].model_id", "a model that is not asked for already")
        seen.add(lora.model_id)


def complete(
    wanted: Wanted, resolved: catalog_service_pb2.ResolveResponse, *, chosen_seed: int
) -> generation_pb2.Parameters:
    """All that decides the picture, defaults filled in.

    Raises:
        InvalidParameter: for a size, step count or scheduler that the base model does not have.
    """
    base = resolved.base_model
    return generation_pb2.Parameters(
        positive_prompt=wanted.positive_prompt,
        negative_prompt=wanted.negative_prompt,
        model_id=wanted.model_id,
        base_model_id=base.base_model_id,
        loras=[
            generation_pb2.LoraUse(model_id=lora.model_id, weight=weight)
            for lora, weight in zip(resolved.loras, _weights(wanted, resolved), strict=True)
        ],
        guidance=base.default_guidance if wanted.guidance is None else wanted.guidance,
        width=_side("width", wanted.width, base.default_width, base.max_width),
        height=_side("height", wanted.height, base.default_height, base.max_height),
        steps=_steps(wanted, base),
        seed=chosen_seed if wanted.seed is None else wanted.seed,
        scheduler=_scheduler(wanted, base),
        output_format=FORMATS[wanted.output_format],
    )


def make_job(
    run_id: str,
    principal: account_pb2.Principal,
    parameters: generation_pb2.Parameters,
    resolved: catalog_service_pb2.ResolveResponse,
    *,
    accepted_at_s: float,
    cancel_after_s: int | None,
    request_id: str,
) -> job_pb2.Job:
    """The job that a worker will pull; `accepted_at_s` is Unix time."""
    is_drawn = parameters.source.kind != generation_pb2.SOURCE_KIND_UPSCALE
    adapters = zip(parameters.loras, resolved.loras, strict=True) if is_drawn else ()
    job = job_pb2.Job(
        run_id=run_id,
        organization_id=principal.organization_id,
        lane=lane_of(principal.plan),
        parameters=parameters,
        base_model_slug=resolved.base_model.slug,
        adapters=[
            job_pb2.Adapter(model_id=use.model_id, weight=use.weight, file=lora.file, naming=lora.naming)
            for use, lora in adapters
        ],
        request_id=request_id,
        omit_provenance=principal.omit_provenance,
        trace=tracing.carrier(),
    )
    job.accepted_at.FromNanoseconds(int(accepted_at_s * 1e9))
    if cancel_after_s is not None:
        job.deadline.FromNanoseconds(int((accepted_at_s + cancel_after_s) * 1e9))
    return job


def _weights(wanted: Wanted, resolved: catalog_service_pb2.ResolveResponse) -> list[float]:
    """The strengths in the order of the resolved LoRAs; a base model as `model_id` has none of its own."""
    extra = [lora.weight for lora in wanted.loras]
    weights = [wanted.lora_weight, *extra] if len(resolved.loras) > len(extra) else extra
    if len(weights) != len(resolved.loras):
        raise errors.Internal("catalog resolved another number of LoRAs than was asked for")
    return weights


def _side(param: str, wanted_px: int | None, default_px: int, max_px: int) -> int:
    if wanted_px is None:
        return default_px
    if wanted_px > max_px:
        allowed = f"a multiple of {SIDE_STEP_PX} between {MIN_SIDE_PX} and {max_px}"
        raise errors.InvalidParameter.of(param, allowed)
    return wanted_px


def _steps(wanted: Wanted, base: model_pb2.BaseModel) -> int:
    if wanted.steps is None:
        return base.default_steps
    if wanted.steps > base.max_steps:
        raise errors.InvalidParameter.of("steps", f"between 1 and {base.max_steps}")
    return wanted.steps


def _scheduler(wanted: Wanted, base: model_pb2.BaseModel) -> str:
    if wanted.scheduler is None:
        return base.default_scheduler
    if wanted.scheduler not in base.schedulers:
        raise errors.InvalidParameter.of("scheduler", "one of " + ", ".join(base.schedulers))
    return wanted.scheduler
