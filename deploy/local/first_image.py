"""Draws one picture through the public API, as a client would: submit, wait, download."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx

WITHIN_S: Final = 180.0
_PROMPT: Final = "a red mug"


class FirstImageError(Exception):
    """The platform is up but did not draw."""


async def draw(url: str, api_key: str, file: Path) -> None:
    """Draw a picture with the newest LoRA, or with a base model where there is none, into `file`.

    Raises:
        FirstImageError: if it is refused or fails.
        TimeoutError: if it takes longer than three minutes.
    """
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": api_key}, timeout=30.0, trust_env=False) as client:
        body = {"positive_prompt": _PROMPT, "model_id": await _model_id(client)}
        run_id = _content(await client.post("/v1/generate", json=body, headers={"Prefer": "wait=60"}))["run_id"]
        generation = await _finished(client, run_id)
        if generation["status"] != "completed":
            raise FirstImageError(f"the first picture is {generation['status']}: {generation.get('error')}")
        image = await client.get(generation["image_url"])
        image.raise_for_status()
    file.write_bytes(image.content)


async def _finished(client: httpx.AsyncClient, run_id: str) -> Any:
    async with asyncio.timeout(WITHIN_S):
        while True:
            generation = _content(await client.get(f"/v1/generations/{run_id}"))
            if generation["status"] not in ("queued", "running"):
                return generation
            await asyncio.sleep(0.25)


async def _model_id(client: httpx.AsyncClient) -> str:
    models = _content(await client.get("/v1/models"))["models"]
    if not models:
        models = _content(await client.get("/v1/base-models"))["base_models"]
    if not models:
        raise FirstImageError("there is no model; see logs/seed.log")
    return str(models[0]["id"])


def _content(answer: httpx.Response) -> Any:
    if answer.status_code != httpx.codes.OK:
        raise FirstImageError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer.json()
