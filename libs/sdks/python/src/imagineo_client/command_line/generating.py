"""`imagineo generate`: one picture, from the prompt to the file."""

from __future__ import annotations

import errno
import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from imagineo_client import environment
from imagineo_client.command_line import progress
from imagineo_client.command_line.outcomes import spoken
from imagineo_client.command_line.session import (
    AsJson,
    Chosen,
    give,
    id_of_model,
    say,
    table,
    undoing,
    usual_base_model,
)
from imagineo_client.command_line.terminal_picture import sequences
from imagineo_client.errors import WaitTimeoutError
from imagineo_client.files import check_writable, written_whole
from imagineo_client.pictures import Picture
from imagineo_client.sync.client import Imagineo
from imagineo_client.sync.runs import Run
from imagineo_client.types.answers import DryRun

_SUFFIXES = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}


@spoken
def generate(  # noqa: PLR0917 - options of a command
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What is to be seen.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .png, .webp or .jpg file; - is stdout. Default: the run's id."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A LoRA or a base model, by its id or name.")
    ] = None,
    negative: Annotated[str | None, typer.Option(help="What is not to be seen.")] = None,
    lora_weight: Annotated[float | None, typer.Option(help="Strength of the model's LoRA, 0 to 2.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="One more LoRA, as ID or ID:WEIGHT, or its name.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How close to the prompt, 1 to 20.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 1 to 100.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draws the same picture again.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="One of the base model's list.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds; then the run is canceled.", min=0)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and price it, draw nothing.")] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open the picture when it is there.")] = False,
    show: Annotated[bool, typer.Option(help="Show the picture in terminals that can.")] = True,
    as_json: AsJson = False,
) -> None:
    """Draw one picture. Ctrl-C cancels it."""
    target = _checked(output)
    fields: dict[str, Any] = {"negative_prompt": negative, "lora_weight": lora_weight, "guidance": guidance}
    fields |= {"width": width, "height": height, "steps": steps, "seed": seed, "scheduler": scheduler}
    fields |= {"loras": [_lora(one) for one in lora] if lora else None, "output_format": _format(target)}
    options = {name: value for name, value in fields.items() if value is not None}
    chosen: Chosen = context.obj
    with chosen.client() as client:
        for one in options.get("loras", ()):
            one["model_id"] = id_of_model(client, one["model_id"])
        options["model_id"] = chosen.model_id(client, model) or usual_base_model(client)
        if lora_weight is not None and options["model_id"].startswith("base_") and not as_json:
            say("--lora-weight has no effect: the model is a base model; --model names a LoRA.")
        if dry_run:
            _priced(client.dry_run(prompt, **cast("Any", options)), as_json=as_json)
            return
        run = _submitted(client, prompt, options)
        picture = _drawn(run, timeout, hidden=as_json)
        try:
            _left(run, picture, target, as_json=as_json, show=show, open_it=open_it)
        except OSError:
            if not as_json:
                say(f"It is drawn all the same: `imagineo runs show {run.id}` gives a link to it.")
            raise


def _submitted(client: Imagineo, prompt: str, options: dict[str, Any]) -> Run:
    """The run. Whoever interrupts before the answer leaves none behind: the same key finds what was accepted."""
    key = uuid.uuid4().hex
    try:
        return client.generate(prompt, idempotency_key=key, **cast("Any", options))
    except KeyboardInterrupt:
        with undoing("What was just asked for"):
            run = client.generate(prompt, idempotency_key=key, **cast("Any", options))
            run.cancel()
            say(f"{run.id} is canceled.")
        raise


def _priced(found: DryRun, *, as_json: bool) -> None:
    """Tell what a request would come to."""
    if as_json:
        give(found)
        return
    blocked = " ".join(one.message for one in found.blocked_by)
    parameters = found.parameters
    rows = [
        ("accepted", f"no: {blocked}" if blocked else "yes"),
        ("model", parameters.model_id),
        ("size", f"{parameters.width}x{parameters.height}, {parameters.steps} steps"),
        ("work", f"{found.megapixel_steps:.1f} megapixel-steps, about {found.estimated_time} s"),
    ]
    table(("", ""), rows)


def _drawn(run: Run, timeout_s: float | None, *, hidden: bool) -> Picture:
    try:
        deadline = time.monotonic() + (timeout_s or 0)
        progress.follow(run, timeout_s, hidden=hidden)
        try:
            run.wait(timeout_s=None if timeout_s is None else max(0, deadline - time.monotonic()))
        except WaitTimeoutError as problem:
            raise WaitTimeoutError(
                f"{run.id} is not over after {timeout_s} s; it is canceled.", canceled=True
            ) from problem
        return run.image()
    except KeyboardInterrupt:
        with undoing(run.id):
            run.cancel()
            say(f"{run.id} is canceled.")
        raise


def _left(run: Run, picture: Picture, target: Path | None, *, as_json: bool, show: bool, open_it: bool) -> None:
    """Put the picture where it shall be, and tell."""
    if target is not None and str(target) == "-":
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()
        return
    path = target or Path(f"{run.id}.{picture.format or 'png'}")
    with written_whole(path) as file:
        file.write(picture)
    if as_json:
        give({"path": str(path), "generation": run.generation})
        return
    if show and sys.stdout.isatty():
        for sequence in sequences(picture, environment.variables()):
            typer.echo(sequence, nl=False)
    typer.echo(str(path))
    say(f"{run.id}, seed {run.seed}")
    if open_it:
        typer.launch(str(path))


def _checked(output: Path | None) -> Path | None:
    """The same path; what is wrong with it is told before anything is drawn."""
    if output is None:
        check_writable("picture.png")  # in this folder, by whatever name
        return None
    if str(output) == "-":
        return output
    if output.suffix and output.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{output}: the name must end in one of {', '.join(_SUFFIXES)}, or in no suffix for PNG.")
    if not output.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(output.parent))
    check_writable(output)
    return output


def _format(target: Path | None) -> str | None:
    return None if target is None else _SUFFIXES.get(target.suffix.lower())


def _lora(text: str) -> dict[str, Any]:
    model_id, colon, weight = text.partition(":")
    if not colon:
        return {"model_id": model_id}
    try:
        return {"model_id": model_id, "weight": float(weight)}
    except ValueError:
        raise ValueError(f"--lora is ID or ID:WEIGHT, such as model_…:0.8, not '{text}'.") from None
