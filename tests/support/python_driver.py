"""The conformance suite's hand in Python: the scenarios of `tests/e2e/sdk`, written once for the asynchronous client.

The synchronous client plays them too: `Awaited` makes its answers awaitable, and its iterators asynchronous.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from imagineo_client import ApiError, AsyncImagineo, Imagineo, ImagineoError, verify_webhook

from tests.support.rest import SMALL

Told = dict[str, Any]
#: Plays a scenario by its name for an address and a key; gives `{"result": …}` or `{"error": …}`.
Drive = Callable[..., Told]
#: A small picture by the usual model.
REQUEST = {"positive_prompt": "a red mug", "seed": 7, **SMALL}
Scenario = Callable[[Any, Told], Awaitable[Any]]


def played(told: Told, *, synchronous: bool) -> Told:
    """Play a scenario; gives its result, or its error as far as it is the client's."""
    return asyncio.run(_played(told, synchronous))


async def _played(told: Told, synchronous: bool) -> Told:
    given, options = (told["api_key"], told["url"]), told.get("options", {})
    play = SCENARIOS[told["scenario"]]
    try:
        if synchronous:
            with Imagineo(*given, **options) as client:
                result = await play(Awaited(client), told)
        else:
            async with AsyncImagineo(*given, **options) as asynchronous:
                result = await play(asynchronous, told)
    except (ImagineoError, OSError) as problem:
        return {"error": described(problem)}
    answer: Told = json.loads(msgspec.json.encode({"result": result}))
    return answer


def described(problem: ImagineoError | OSError) -> Told:
    root = ImagineoError if isinstance(problem, ImagineoError) else OSError
    kinds = type(problem).__mro__[1 : type(problem).__mro__.index(root) + 1]
    api = problem if isinstance(problem, ApiError) else None
    return {
        "class": type(problem).__name__,
        "parents": [kind.__name__ for kind in kinds],
        "message": str(problem),
        "status": api.status if api else None,
        "code": api.code if api else None,
        "param": api.param if api else None,
        "request_id": api.request_id if api else None,
        "retry_after_s": api.retry_after_s if api else None,
    }


class Awaited:
    """Lets a synchronous object be used as its asynchronous twin is."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if type(found).__module__.startswith("imagineo_client.sync"):
            return Awaited(found)
        return _Call(found) if callable(found) and not isinstance(found, type) else found


class _Call:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._inner(*args, **kwargs)
        return Awaited(answer) if type(answer).__module__.startswith("imagineo_client.sync") else _Answer(answer)


class _Answer:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Any:
        yield from ()
        return self._answer

    async def __aiter__(self) -> AsyncIterator[Any]:
        for one in self._answer:
            yield one


def _awaited_await(self: Awaited) -> Any:
    yield from ()
    return self


Awaited.__await__ = _awaited_await  # type: ignore[attr-defined] # a submit is awaited, its handle is used
SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    SCENARIOS[play.__name__] = play
    return play


async def _submitted(client: Any, told: Told) -> Any:
    if "run_id" in told:
        return client.run(told["run_id"])
    return await client.generate(**told["request"])


@scenario
async def submit(client: Any, told: Told) -> Any:
    run = await _submitted(client, told)
    return {"run_id": run.id, "seed": run.seed}


@scenario
async def draw(client: Any, told: Told) -> Any:
    run = await _submitted(client, told)
    found, image = await run.wait(), await run.image()
    digest = hashlib.sha256(image).hexdigest()
    return {"run_id": run.id, "status": found.status, "seed": found.seed, "sha256": digest, "bytes": len(image)}


@scenario
async def organization(client: Any, told: Told) -> Any:
    its = client.organization
    invited = await its.invitations.create(told["email"], role="viewer")
    await its.invitations.revoke(invited.id)
    invitations = {one.id: one.status async for one in its.invitations.iterate()}
    changed = await its.members.update(told["user_id"], role="admin")
    before = [one.user_id for one in (await its.members.list()).items]
    await its.members.remove(told["user_id"])
    after = [one.user_id async for one in its.members.iterate()]
    return {
        "renamed": (await its.update(name="Renamed")).name,
        "link": invited.link,
        "invitation": invitations[invited.id],
        "role": changed.role,
        "members": {"before": before, "after": after},
        "newest": [one.action for one in (await its.audit_log.list(limit=5)).items],
        "only": [one.action async for one in its.audit_log.iterate(action="invitation.created")],
    }


@scenario
async def save(client: Any, told: Told) -> Any:
    run = await _submitted(client, told)
    return {"run_id": run.id, "path": str(await run.save(told["path"]))}


@scenario
async def events(client: Any, told: Told) -> Any:
    run, found = await _submitted(client, told), []
    options = {name: told[name] for name in ("last_event_id", "previews") if name in told}
    async for event in run.events(**options):
        status, progress = (event.generation.status, event.generation.progress) if event.generation else (None, None)
        shown = {"id": event.id, "type": event.type, "status": status, "progress": progress}
        found.append({**shown, "has_preview": event.preview is not None})
    return {"run_id": run.id, "events": found}


@scenario
async def cancel(client: Any, told: Told) -> Any:
    run = await _submitted(client, told)
    status = (await run.cancel()).status
    while status == "canceling":
        status = (await run.refresh()).status
    return {"run_id": run.id, "status": status}


@scenario
async def wait(client: Any, told: Told) -> Any:
    run = await _submitted(client, told)
    options = {name: told[name] for name in ("timeout_s", "cancel_on_timeout") if name in told}
    return {"run_id": run.id, "status": (await run.wait(**options)).status}


@scenario
async def pages(client: Any, told: Told) -> Any:
    limit, filters = told["limit"], told.get("filters", {})
    page = await client.generations.list(limit=limit, **filters)
    ids = [one.run_id async for one in client.generations.iterate(page_size=limit, **filters)]
    first = {"ids": [one.run_id for one in page.items], "has_next": page.next_cursor is not None}
    return {"ids": ids, "first_page": first}


@scenario
async def upload_model(client: Any, told: Told) -> Any:
    progress: list[tuple[int, int]] = []
    model = await client.models.upload(
        told["path"],
        name=told["name"],
        base_model_id=told["base_model_id"],
        on_progress=lambda sent, total: progress.append((sent, total)),
    )
    names = [one.name async for one in client.models.iterate()]
    await client.models.delete(model.id)
    return {"id": model.id, "progress": progress, "names": names}


@scenario
async def sourced(client: Any, told: Told) -> Any:
    source = client.run(told["run_id"])
    upscaled = await (await source.upscale(2)).wait()
    varied = [await client.run(run.id).wait() for run in await source.variations(2, 0.5)]
    from_file = await (await client.upscale(Path(told["path"]))).wait()
    [like_file] = await client.variations(Path(told["path"]), 1, 0.5, positive_prompt="a red mug")
    return {
        "like_file": (await client.run(like_file.id).wait()).status,
        "upscaled": {"status": upscaled.status, "width": upscaled.image.width, "height": upscaled.image.height},
        "varied": [one.status for one in varied],
        "from_file": from_file.status,
    }


@scenario
async def batch(client: Any, told: Told) -> Any:
    given = {name: told[name] for name in ("items", "file", "sweep", "defaults") if name in told}
    made = await client.batches.create(**given)
    results = [{"index": one.index, "run_id": one.run_id, "status": one.status} async for one in made.results()]
    status = (await made.wait()).status
    with tempfile.TemporaryDirectory() as folder:
        archive_bytes = (await made.archive(Path(folder, "batch.zip"))).stat().st_size
    sheet = await made.contact_sheet()
    sizes = {"archive_bytes": archive_bytes, "sheet_bytes": len(sheet)}
    return {"batch_id": made.id, "results": results, "status": status, **sizes}


@scenario
async def account(client: Any, told: Told) -> Any:
    key = await client.keys.create("tour", scopes=["generations:read"])
    listed = [one.id async for one in client.keys.iterate()]
    await client.keys.revoke(key.id)
    revoked = [one.id for one in (await client.keys.list()).items if one.revoked_at is not None]
    hook = await client.webhooks.create("https://example.com/hook", events=["generation.completed"])
    updated = await client.webhooks.update(hook.id, description="tour")
    rotated = await client.webhooks.rotate_secret(hook.id, overlap_s=0)
    await client.webhooks.delete(hook.id)
    hooks = [one.id async for one in client.webhooks.iterate()]
    organization = await client.organization.get()
    return {
        "limits": bool((await client.limits.get()).plan),
        "usage": (await client.usage.list()).total.images >= 0,
        "keys": {"made": key.id, "listed": key.id in listed, "revoked": key.id in revoked},
        "webhooks": {
            "made": hook.id,
            "updated": updated.description == "tour",
            "rotated": rotated.secret != hook.secret,
            "deleted": hook.id not in hooks,
        },
        "organization": organization.id,
    }


@scenario
async def verify(client: Any, told: Told) -> Any:
    event = verify_webhook(told["body"], told["headers"], told["secret"])
    return {"type": event.type, "run_id": getattr(event.data, "run_id", None)}


@scenario
async def call(client: Any, told: Told) -> Any:
    method = client
    for name in told["method"].split("."):
        method = getattr(method, name)
    answer = await method(**told.get("arguments", {}))
    return {"run_id": answer.id} if hasattr(answer, "refresh") else answer
