"""`POST /v1/generate`: reads the request, hands it to admission, and waits for the picture where that is preferred."""

from __future__ import annotations

from typing import Final

from imagineo import errors
from imagineo.v1 import auth_service_pb2
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import admission, rendering
from services.gateway.body import require_json
from services.gateway.endpoints import limits
from services.gateway.exchange import exchange_of, holder_of, principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import MAX_CANCEL_AFTER_S, MAX_WAIT_S, read_preferences
from services.gateway.specification import answer, operation, parameter, shape
from services.gateway.submission import read_submission


async def submit(parts: Parts, request: Request) -> Response:
    """Accept one run."""
    exchange = exchange_of(request.scope)
    asked = await _read(parts, request)
    if not isinstance(asked, errors.Refused) and asked.wanted.dry_run:
        return await _rehearse(parts, request, asked)
    accepted = await parts.admission.submit(request.headers, exchange, asked)
    public_url = parts.public_url(request)
    wait_s = None if isinstance(asked, errors.Refused) else asked.preferences.wait_s
    if wait_s is not None:
        run = await parts.following.settled(holder_of(request.scope), accepted.run_id, wait_s)
        if run is not None:
            shown = rendering.generation(run, public_url, parts.signer, parts.now_s())
            return json_response(shown, headers={"Preference-Applied": f"wait={wait_s}"})
    return json_response(rendering.submitted(accepted.run_id, accepted.seed, accepted.estimated_time_s, public_url))


async def _rehearse(parts: Parts, request: Request, asked: admission.Request) -> Response:
    """What would become of the run, with nothing stored, reserved or queued."""
    rehearsed = await parts.admission.rehearse(request.headers, exchange_of(request.scope), asked)
    usage, unfinished_count = await limits.use_of(parts, principal_of(request.scope).organization_id)
    shown = rendering.dry_run(
        rehearsed.parameters,
        rehearsed.resolved.loras,
        estimated_time_s=rehearsed.estimated_time_s,
        blocked_by=blocks(usage, unfinished_count),
        shown_limits=limits.shown(parts, usage, unfinished_count),
    )
    return json_response(shown)


def blocks(usage: auth_service_pb2.GetUsageResponse, unfinished_count: int, *, images: int = 1) -> list[errors.Refused]:
    """What would refuse so many more runs now, in the order in which a submit meets it."""
    bounds = usage.organization.limits
    found: list[errors.Refused] = []
    if usage.images_used + usage.images_reserved + images > bounds.images_per_month:
        found.append(errors.QuotaExceeded())
    if unfinished_count + images > bounds.queued_runs:
        found.append(errors.QueueFull())
    return found


async def _read(parts: Parts, request: Request) -> admission.Request | errors.Refused:
    """What is asked for; or what is wrong with it, to be said once it is known who asks."""
    try:
        require_json(request.headers)
        preferences = read_preferences(request.headers)
        body = await request.body()
        wanted = read_submission(body, parts.settings.reach)
        return admission.Request(wanted, preferences, body)
    except errors.Refused as refusal:
        return refusal


SUBMIT: Final = operation(
    "generate",
    "Queue one image.",
    {
        200: answer(
            "Accepted: it will end in exactly one terminal status. With `Prefer: wait=N` the generation as it stands. "
            "With `dry_run` what would become of it: nothing is stored, reserved or queued.",
            {"anyOf": [shape("Submitted"), shape("Generation"), shape("DryRun")]},
            headers=["Preference-Applied"],
        )
    },
    refuses=[400, 404, 409, 413, 415, 422],
    parameters=[
        parameter(
            "Idempotency-Key",
            "header",
            "Within 24 hours the same key and body get the same answer, and nothing new is made.",
            {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        ),
        parameter(
            "Prefer",
            "header",
            f"`wait=N`: hold the answer until the run is terminal, or N seconds (1 to {MAX_WAIT_S}).",
            {"type": "string"},
        ),
        parameter(
            "Cancel-After",
            "header",
            "Seconds from now after which a run that has not started expires.",
            {"type": "integer", "minimum": 1, "maximum": MAX_CANCEL_AFTER_S},
        ),
    ],
    body=shape("Submission"),
    example={
        "positive_prompt": "A blue teapot on a wooden table",
        "negative_prompt": "blurry, low quality",
        "model_id": "$MODEL_ID",
        "lora_weight": 0.8,
        "guidance": 7.5,
        "width": 512,
        "height": 512,
    },
)
