"""`POST /v1/generate`: reads the request, hands it to admission, and waits for the picture where that is preferred."""

from __future__ import annotations

from typing import Final

from imagineo import errors
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import admission, rendering
from services.gateway.exchange import exchange_of, principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import MAX_CANCEL_AFTER_S, MAX_WAIT_S, read_preferences
from services.gateway.specification import answer, operation, parameter, shape
from services.gateway.submission import read_submission


async def submit(parts: Parts, request: Request) -> Response:
    """Accept one run."""
    exchange = exchange_of(request.scope)
    asked = await _read(request)
    accepted = await parts.admission.submit(request.headers, exchange, asked)
    public_url = parts.public_url(request)
    wait_s = None if isinstance(asked, errors.Refused) else asked.preferences.wait_s
    if wait_s is not None:
        organization_id = principal_of(request.scope).organization_id
        run = await parts.following.settled(organization_id, accepted.run_id, wait_s)
        if run is not None:
            shown = rendering.generation(run, public_url, parts.signer, parts.now_s())
            return json_response(shown, headers={"Preference-Applied": f"wait={wait_s}"})
    return json_response(rendering.submitted(accepted.run_id, accepted.seed, accepted.estimated_time_s, public_url))


async def _read(request: Request) -> admission.Request | errors.Refused:
    """What is asked for; or what is wrong with it, to be said once it is known who asks."""
    try:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise errors.UnsupportedMediaType("The body's content type must be application/json.")
        preferences = read_preferences(request.headers)
        body = await request.body()
        return admission.Request(read_submission(body), preferences, body)
    except errors.Refused as refusal:
        return refusal


SUBMIT: Final = operation(
    "generate",
    "Queue one image.",
    {
        200: answer(
            "Accepted: it will end in exactly one terminal status. With `Prefer: wait=N` the generation as it stands.",
            {"anyOf": [shape("Submitted"), shape("Generation")]},
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
)
