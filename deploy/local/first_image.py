"""Draws one picture through the public API, as a client would: submit, wait, download."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx

WITHIN_S: Final = 180.0
_HOLD_S: Final = 30
# Far enough apart that three minutes of them stay inside the plan's requests of each minute.
_POLL_S: Final = 1.0
PROMPT: Final = "a red apple"


class FirstImageError(Exception):
    """The platform is up but did not draw."""


async def any_model(url: str, api_key: str) -> str:
    """The id of a base model, or of a LoRA where there is none.

    Raises:
        FirstImageError: if there is neither.
    """
    async with _client(url, api_key) as client:
        models = _content(await client.get("/v1/base-models"))["base_models"]
        models = models or _content(await client.get("/v1/models"))["models"]
    if not models:
        raise FirstImageError("there is no model; see logs/seed.log")
    return str(models[0]["id"])


async def draw(url: str, api_key: str, model_id: str, file: Path) -> None:
    """Draw a picture into `file`.

    Raises:
        FirstImageError: if it is refused, fails, or takes longer than three minutes.
    """
    async with _client(url, api_key) as client:
        body = {"positive_prompt": PROMPT, "model_id": model_id}
        submitted = await client.post("/v1/generate", json=body, headers={"Prefer": f"wait={_HOLD_S}"})
        generation = await _finished(client, _content(submitted))
        if generation["status"] != "completed":
            raise FirstImageError(f"the first picture is {generation['status']}: {generation.get('error')}")
        image = await client.get(generation["image_url"])
        image.raise_for_status()
    file.write_bytes(image.content)


async def _finished(client: httpx.AsyncClient, generation: Any) -> Any:
    try:
        async with asyncio.timeout(WITHIN_S):
            while generation["status"] in ("queued", "running"):
                await asyncio.sleep(_POLL_S)
                generation = _content(await client.get(f"/v1/generations/{generation['run_id']}"))
    except TimeoutError as late:
        message = f"the first picture is {generation['status']} after {WITHIN_S:.0f} s; see logs/worker.log"
        raise FirstImageError(message) from late
    return generation


def _client(url: str, api_key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"X-API-Key": api_key}, timeout=_HOLD_S + 30.0, trust_env=False)


def _content(answer: httpx.Response) -> Any:
    if answer.status_code != httpx.codes.OK:
        raise FirstImageError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer.json()
