"""`imagineo runs`: list, show, cancel."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from imagineo_client.command_line.outcomes import spoken
from imagineo_client.command_line.session import AsJson, Chosen, Limit, give, say, table
from imagineo_client.types.answers import Generation

app = typer.Typer(help="Runs, newest first.", no_args_is_help=True)
RunId = Annotated[str, typer.Argument(help="gen_…")]


@app.command("list")
@spoken
def list_runs(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option(help="Only those; may be repeated.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Only this model's.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest runs."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        size = min(limit, 100)
        found = list(islice(client.generations.iterate(status=status, model=model, page_size=size), limit))
    if as_json:
        give(found)
    else:
        rows = [(one.run_id, one.status, one.created_at, one.parameters.positive_prompt[:60]) for one in found]
        table(("ID", "STATUS", "CREATED", "PROMPT"), rows, kept=2)


@app.command()
@spoken
def show(context: typer.Context, run_id: RunId, as_json: AsJson = False) -> None:
    """Show one run, with a fresh link to its picture."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        _tell(client.generations.get(run_id), as_json=as_json)


@app.command()
@spoken
def cancel(context: typer.Context, run_id: RunId, as_json: AsJson = False) -> None:
    """Tell one run to stop."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        found = client.generations.cancel(run_id)
        _tell(found, as_json=as_json)
        if found.status not in ("canceled", "canceling"):
            say(f"{run_id} was over before.")


def _tell(found: Generation, *, as_json: bool) -> None:
    if as_json:
        give(found)
        return
    error = f"{found.error.code}: {found.error.message}" if found.error else None
    rows = [
        ("id", found.run_id),
        ("status", f"{found.status}, {found.progress} %"),
        ("prompt", found.parameters.positive_prompt),
        ("model", found.model_id),
        ("seed", found.seed),
        ("size", f"{found.parameters.width}x{found.parameters.height}, {found.parameters.steps} steps"),
        ("created", found.created_at),
        ("finished", found.finished_at),
        ("waiting for", found.waiting_for),
        ("error", error),
        ("image", found.image_url),
    ]
    table(("", ""), [row for row in rows if row[1] is not None])
