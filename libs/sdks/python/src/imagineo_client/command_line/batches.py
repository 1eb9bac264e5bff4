"""`imagineo batch run`: a file of requests into a folder of pictures."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from imagineo_client.command_line import progress
from imagineo_client.command_line.outcomes import ExitCode, spoken
from imagineo_client.command_line.session import AsJson, Chosen, give, say, undoing
from imagineo_client.errors import BadRequestError, ImagineoError
from imagineo_client.files import written_whole
from imagineo_client.sync.batches import BatchRun
from imagineo_client.sync.client import Imagineo
from imagineo_client.types.answers import BatchResult
from imagineo_client.types.requests import BatchItem

#: A place of the body that is sent; people look for the line of their file.
_ITEM = re.compile(r"items\[(\d+)\]\.?")

app = typer.Typer(help="Up to 1,000 pictures at once.", no_args_is_help=True)


@app.command("run")
@spoken
def run_batch(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON lines: one body of POST /v1/generate a line.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder, made if need be.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Of lines that name none, by id or name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a file of requests; pictures and results.jsonl appear as they finish.

    Ctrl-C cancels the rest, and so does a folder that cannot be written to any more.
    """
    output.mkdir(parents=True, exist_ok=True)
    chosen: Chosen = context.obj
    with chosen.client() as client:
        batch = _submitted(client, file, chosen.model_id(client, model))
        say(f"{batch.id} is accepted.")
        try:
            results = _drawn(client, batch, output, hidden=as_json)
        except (KeyboardInterrupt, OSError):
            with undoing(batch.id):
                batch.cancel()
                say(f"{batch.id} is canceled; what was drawn is in {output}.")
            raise
    completed = sum(one.status == "completed" for one in results)
    if as_json:
        give({"batch_id": batch.id, "completed": completed, "total": len(results), "results": results})
    else:
        typer.echo(str(output))
        say(f"{completed} of {len(results)} pictures are in {output}.")
    if completed < len(results):
        raise typer.Exit(int(ExitCode.NO_PICTURE))


def _submitted(client: Imagineo, file: Path, model_id: str | None) -> BatchRun:
    """The batch. Whoever interrupts before the answer leaves none behind: the same key finds what was accepted."""
    content, key = file.read_bytes(), uuid.uuid4().hex
    defaults: BatchItem | None = None if model_id is None else {"model_id": model_id}
    try:
        return client.batches.create(file=content, defaults=defaults, idempotency_key=key)
    except KeyboardInterrupt:
        with undoing("What was just asked for"):
            batch = client.batches.create(file=content, defaults=defaults, idempotency_key=key)
            batch.cancel()
            say(f"{batch.id} is canceled.")
        raise
    except BadRequestError as problem:
        lines = [number for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
        problem.args = (_ITEM.sub(lambda found: f"line {lines[int(found[1])]}: ", str(problem)),)
        raise


def _drawn(client: Imagineo, batch: BatchRun, folder: Path, *, hidden: bool) -> list[BatchResult]:
    results: list[BatchResult] = []
    with (
        progress.counting(batch.id, batch.refresh().items.total, hidden=hidden) as count,
        (folder / "results.jsonl").open("wb") as lines,
    ):
        for result in batch.results():
            try:
                _keep(client, result, folder)
            except ImagineoError as problem:
                say(f"Item {result.index}: {problem}")
                result.file = None
            results.append(result)
            lines.write(msgspec.json.encode(result) + b"\n")
            lines.flush()
            count()
    return results


def _keep(client: Imagineo, result: BatchResult, folder: Path) -> None:
    """Write one picture, named after its item's number."""
    if result.status == "completed" and result.image_url is not None:
        picture = client.download(result.image_url)
        result.file = f"{result.index:04}.{picture.format or 'png'}"
        with written_whole(folder / result.file) as file:
            file.write(picture)
    elif result.error is not None:
        say(f"Item {result.index} {result.status}: {result.error.message}")
