"""The commands in one tree, and what they share: which platform and which key."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from imagineo_client.command_line import account, batches, generating, login, models, runs
from imagineo_client.command_line.session import Chosen
from imagineo_client.version import VERSION

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
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `imagineo runs list | head` ends like other programs
    app()
