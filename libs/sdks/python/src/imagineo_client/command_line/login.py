"""`imagineo login`: try a key and keep it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from imagineo_client import environment
from imagineo_client.command_line import settings
from imagineo_client.command_line.outcomes import spoken
from imagineo_client.command_line.session import AsJson, Chosen, connected, give, say


@spoken
def login(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="The model of requests that name none.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a key, asked for unless --api-key has it, and keep it with the address."""
    chosen: Chosen = context.obj
    kept = settings.read()
    address = chosen.url or environment.variable("IMAGINEO_URL") or kept.url
    key = chosen.api_key or _asked()
    with connected(key.strip(), address) as client:
        plan = client.limits.get().plan
        path = settings.write(settings.Settings(client.base_url, key.strip(), model or kept.model))
        if as_json:
            give({"url": client.base_url, "plan": plan, "settings": str(path)})
        else:
            say(f"The key works at {client.base_url} (plan {plan}). It is kept in {path}.")


def _asked() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("API key", hide_input=True, err=True))
    return sys.stdin.readline()
