"""One command's way to the platform, and its way to say what came: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imagineo_client import environment
from imagineo_client.command_line import settings
from imagineo_client.sync.client import Imagineo

#: `--json`, which every command has.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
#: How many things a list shows.
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")]


@dataclass(frozen=True)
class Chosen:
    """What the options before the command say."""

    url: str | None = None
    api_key: str | None = None

    def client(self, model_id: str | None = None) -> Imagineo:
        """A client: options win over the environment, the environment over the settings file."""
        kept = settings.read()
        return Imagineo(
            self.api_key or environment.variable("IMAGINEO_API_KEY") or kept.api_key,
            self.url or environment.variable("IMAGINEO_URL") or kept.url,
            model_id=model_id or environment.variable("IMAGINEO_MODEL") or kept.model,
        )


def say(message: str) -> None:
    """A line for people, beside what the command gives."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(message))


def give(value: Any) -> None:
    """A JSON object on stdout."""
    typer.echo(msgspec.json.encode(value).decode())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, kept: int = 1) -> None:
    """A table on stdout. Its first columns, such as ids, which people copy, are never cut.

    Where no column has a name there is no head.
    """
    texts = [[escape(_shown(value)) for value in row] for row in rows]
    found = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for number, name in enumerate(columns):
        width = max((len(row[number]) for row in texts), default=0) if number < kept else None
        found.add_column(name, min_width=width, no_wrap=bool(name) or number < kept)
    for row in texts:
        found.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000  # a pipe has no edge to wrap at
    console.print(found)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return "" if value is None else str(value)
