"""One command's way to the platform, and its way to say what came: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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
from imagineo_client.command_line.first_contact import FirstContact
from imagineo_client.errors import ImagineoError, ModelNotFoundError, NotFoundError
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

    @contextmanager
    def client(self) -> Iterator[Imagineo]:
        """A client: options win over the environment, the environment over the settings file."""
        kept = settings.read()
        with connected(
            self.api_key or environment.variable("IMAGINEO_API_KEY") or kept.api_key,
            self.url or environment.variable("IMAGINEO_URL") or kept.url,
        ) as client:
            yield client

    def model_id(self, client: Imagineo, named: str | None) -> str | None:
        """The model that the option, the environment or the settings name; None where none does."""
        wanted = named or environment.variable("IMAGINEO_MODEL") or settings.read().model
        return None if wanted is None else id_of_model(client, wanted)


@contextmanager
def connected(api_key: str | None, url: str | None) -> Iterator[Imagineo]:
    """A client that says at once where nobody listens."""
    with FirstContact() as http_client, Imagineo(api_key, url, http_client=http_client) as client:
        yield client


@contextmanager
def undoing(what: str) -> Iterator[None]:
    """Cancel something on the way out; where that fails it is told, and the way out goes on."""
    try:
        yield
    except ImagineoError as problem:
        say(f"{what} could not be canceled: {problem}")


def say(message: str) -> None:
    """A line for people, beside what the command gives."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(message))


def give(value: Any) -> None:
    """A JSON object on stdout."""
    typer.echo(msgspec.json.encode(value).decode())


class _Output(Console):
    """Stdout, whose reader may have gone."""

    def on_broken_pipe(self) -> None:
        """Leave it to `outcomes`: rich would end the process with a code of its own."""
        raise BrokenPipeError


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
    console = _Output(highlight=False)
    if not console.is_terminal:
        console.width = 1000  # a pipe has no edge to wrap at
    console.print(found)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return "" if value is None else str(value)


def id_of_model(client: Imagineo, wanted: str) -> str:
    """The id of a model by its id or its name.

    Raises:
        ModelNotFoundError: if there is none of that name, or several.
    """
    if wanted.startswith(("model_", "base_")):
        return wanted
    loras = [(one.id, one.name) for one in client.models.iterate(q=wanted)]
    bases = [(one.id, one.name) for one in client.base_models.list()]
    found = [model_id for model_id, name in (*loras, *bases) if name.casefold() == wanted.casefold()]
    if len(found) == 1:
        return found[0]
    said = f"More than one model is named '{wanted}': {', '.join(found)}" if found else f"There is no model '{wanted}'"
    raise ModelNotFoundError(f"{said}. `imagineo models list` shows ids and names.", status=404)


def usual_base_model(client: Imagineo) -> str:
    """The platform's first base model.

    Raises:
        NotFoundError: if it has none.
    """
    bases = client.base_models.list()
    if not bases:
        raise NotFoundError("The platform has no base model yet.", status=404)
    return bases[0].id
