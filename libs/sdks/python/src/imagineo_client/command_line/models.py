"""`imagineo models`: list them, upload a LoRA, delete one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from imagineo_client.command_line import progress
from imagineo_client.command_line.outcomes import spoken
from imagineo_client.command_line.session import AsJson, Chosen, Limit, give, id_of_model, say, table

app = typer.Typer(help="LoRAs and base models.", no_args_is_help=True)


@app.command("list")
@spoken
def list_models(
    context: typer.Context,
    search: Annotated[str | None, typer.Option("--search", "-q", help="In names, descriptions, trigger words.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the LoRAs, then the base models."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        models = list(islice(client.models.iterate(q=search), limit))
        bases = client.base_models.list()
    if as_json:
        give({"models": models, "base_models": bases})
        return
    rows: list[tuple[object, ...]] = [
        (one.id, one.name, ", ".join(one.trigger_words), "yours" if one.owned else one.sharing) for one in models
    ]
    rows += [(one.id, one.name, "", "base model") for one in bases]
    table(("ID", "NAME", "TRIGGER WORDS", "WHOSE"), rows)


@app.command()
@spoken
def delete(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A LoRA of yours, by its id or name.")],
    as_json: AsJson = False,
) -> None:
    """Delete a LoRA of yours for good."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        model_id = id_of_model(client, model)
        client.models.delete(model_id)
    if as_json:
        give({"id": model_id, "deleted": True})
    else:
        say(f"{model_id} is deleted.")


@app.command()
@spoken
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A safetensors file.")],
    name: Annotated[str | None, typer.Option(help="For people; default: the file's name.")] = None,
    base_model: Annotated[str | None, typer.Option(help="What it is made for; default: the first one.")] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    trigger_word: Annotated[list[str] | None, typer.Option(help="A word that wakes it; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a LoRA; it is checked before it is accepted."""
    fields = {"description": description, "trigger_words": trigger_word}
    options: dict[str, Any] = {name: value for name, value in fields.items() if value}
    file.open("rb").close()  # before a bar is shown
    chosen: Chosen = context.obj
    with chosen.client() as client, progress.sending(file.name, hidden=as_json) as tell:
        model = client.models.upload(
            file, name=name or file.stem, base_model_id=base_model, on_progress=tell, **options
        )
    if as_json:
        give(model)
        return
    typer.echo(model.id)
    matched = f", {model.check.matched_ratio:.0%} of it matches" if model.check else ""
    say(f"{model.name}: rank {model.rank}{matched}")
