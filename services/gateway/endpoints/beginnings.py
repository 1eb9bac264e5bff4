"""What the routes that begin from a picture share: reading, submitting, waiting, and what the document says of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from imagineo import errors
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import rendering
from services.gateway.admission import Accepted
from services.gateway.body import require_json
from services.gateway.endpoints import generate, limits
from services.gateway.endpoints.generations import run_id_of
from services.gateway.exchange import exchange_of, holder_of, principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.preferences import Preferences, read_preferences
from services.gateway.sourced import Sourced, read_sourced
from services.gateway.specification import Json, answer, operation, shape
from services.gateway.together import Several


async def submit(parts: Parts, request: Request, names: tuple[str, ...]) -> Response:
    """Accept the runs that a body with these fields asks for; a run in the path is the picture's."""
    exchange = exchange_of(request.scope)
    try:
        asked, preferences, body = await _read(parts, request, names)
    except errors.Refused as refusal:
        await parts.together.submit(request.headers, exchange, refusal)
        raise
    several = parts.sources.several(asked, preferences, body)
    if asked.dry_run:
        return await _rehearse(parts, request, several)
    accepted = await parts.together.submit(request.headers, exchange, several)
    return await answered(parts, request, accepted, preferences)


async def _read(parts: Parts, request: Request, names: tuple[str, ...]) -> tuple[Sourced, Preferences, bytes]:
    run_id = run_id_of(request) if "run_id" in request.path_params else ""
    require_json(request.headers)
    preferences = read_preferences(request.headers)
    async with parts.large_bodies.reading(request.headers):
        body = await request.body()
        asked = read_sourced(body, names, run_id=run_id, reach=parts.settings.reach)
        # The same body means something else of another picture: an idempotency key tells them apart by the path too.
        told = f"{request.method} {request.url.path}\n".encode() + body
        return asked, preferences, await asyncio.to_thread(lambda: hashlib.sha256(told).digest())


async def answered(parts: Parts, request: Request, accepted: Sequence[Accepted], preferences: Preferences) -> Response:
    """The runs as they were accepted, or as they stand where their ends were waited for."""
    public_url = parts.public_url(request)
    shown = [rendering.submitted(one.run_id, one.seed, one.estimated_time_s, public_url) for one in accepted]
    headers: dict[str, str] = {}
    if preferences.wait_s is not None:
        holder = holder_of(request.scope)
        waits = (parts.following.settled(holder, one.run_id, preferences.wait_s) for one in accepted)
        runs = await asyncio.gather(*waits)
        found = [rendering.generation(run, public_url, parts.signer, parts.now_s()) for run in runs if run is not None]
        if len(found) == len(accepted):
            shown, headers = found, {"Preference-Applied": f"wait={preferences.wait_s}"}
    content: Any = shown[0] if len(shown) == 1 else {"generations": shown}
    return json_response(content, headers=headers)


async def _rehearse(parts: Parts, request: Request, several: Several) -> Response:
    """What would become of the runs, with nothing stored, reserved or queued."""
    rehearsed = await parts.together.rehearse(request.headers, exchange_of(request.scope), several)
    usage, unfinished_count = await limits.use_of(parts, principal_of(request.scope).organization_id)
    shown = rendering.dry_run(
        rehearsed.parameters,
        rehearsed.resolved.loras,
        estimated_time_s=rehearsed.estimated_time_s,
        blocked_by=generate.blocks(usage, unfinished_count, images=several.count),
        shown_limits=limits.shown(parts, usage, unfinished_count),
        images=several.count,
    )
    return json_response(shown)


def described(operation_id: str, summary: str, body: str, example: Json, *, several: bool, curl: str = "") -> Json:
    """What one of the routes says of itself."""
    answers = ["Submitted", "Generation", "DryRun", *(["SubmittedSeveral", "GenerationsDrawn"] if several else [])]
    return operation(
        operation_id,
        summary,
        {
            200: answer(
                _ANSWERED + (_SEVERAL if several else ""),
                {"anyOf": [shape(name) for name in answers]},
                headers=["Preference-Applied"],
            )
        },
        refuses=[400, 404, 409, 413, 415, 422],
        parameters=generate.SUBMIT["parameters"],
        body=shape(body),
        example=example,
        curl=curl,
    )


_ANSWERED: Final = (
    "Accepted: it will end in exactly one terminal status. With `Prefer: wait=N` the generation as it stands. "
    "With `dry_run` what would become of it."
)
_SEVERAL: Final = " With a `count` above 1 all of them in a list; all are accepted or none."
