"""The commands in one tree, and what they share: which platform and which key."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from imagineo_client.command_line import account, batches, generating, login, models, runs
from imagineo_client.command_line.session import Chosen
from imagineo_client.version import VERSION

#: What every command may be told, before its name or behind it.
_EVERYWHERE: Final = ("--url", "--api-key")

app = typer.Typer(
    name="imagineo",
    help="Draw pictures on an Imagineo platform.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("login")(login.login)
app.command("generate")(generating.generate)
app.add_typer(models.app, name="models")
app.add_typer(batches.app, name="batch")
app.add_typer(runs.app, name="runs")
app.add_typer(account.keys_app, name="keys")
app.command("usage")(account.usage)
app.command("limits")(account.limits)


@app.callback(invoke_without_command=True)
def everywhere(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="The address; else IMAGINEO_URL, else the settings.")] = None,
    api_key: Annotated[str | None, typer.Option(help="The key; else IMAGINEO_API_KEY, else the settings.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Draw pictures on an Imagineo platform."""
    if version:
        typer.echo(f"imagineo {VERSION}")
        raise typer.Exit
    context.obj = Chosen(url, api_key)


def main() -> None:
    """Run a command; its exit code is the process's."""
    app(args=hoisted(sys.argv[1:]))


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The same arguments with the address and the key first: `imagineo login --url …` is what people type."""
    first, rest, given = list[str](), list[str](), iter(arguments)
    for one in given:
        if one == "--":
            rest += [one, *given]
        elif one in _EVERYWHERE:
            first += [one, *([value] if (value := next(given, None)) is not None else [])]
        else:
            (first if one.startswith(tuple(f"{name}=" for name in _EVERYWHERE)) else rest).append(one)
    return [*first, *rest]
