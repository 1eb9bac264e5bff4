"""The catalog's command line: `serve` (the default), `migrate`, `seed`, `add-base-model`, `add-lora`, `remove-lora`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from imagineo import process
from imagineo.errors import FailedPrecondition, ImagineoError
from imagineo.settings import SettingsError, read
from imagineo.telemetry import logs, tracing

from services.catalog import app, hub
from services.catalog.seeding import LoraEntry, Seeder
from services.catalog.settings import CatalogSettings

Answer = TypeVar("Answer")
_HUB_ID: Final = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

cli = typer.Typer(no_args_is_help=False, add_completion=False, pretty_exceptions_enable=False)


@cli.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """Keep base models and LoRAs; without a command: serve."""
    if context.invoked_subcommand is None:
        serve()


@cli.command()
def serve() -> None:
    """Serve CatalogService until SIGTERM."""
    settings = _settings()
    try:
        with tracing.exporting("catalog", settings):
            process.run(lambda stop: app.serve(settings, stop))
    except SettingsError as problem:
        raise _failed(problem) from problem


@cli.command()
def migrate(
    *, wait_s: Annotated[float, typer.Option(help="How long to wait for a database that is away, in seconds.")] = 0
) -> None:
    """Bring the database's schema up to date."""
    from imagineo.postgres.migrations import migrate as run_migrations  # noqa: PLC0415  # heavy, and of no use to serve

    settings = _settings()
    try:
        versions = Path(__file__).parent / "migrations"
        run_migrations(settings.postgres_dsn.reveal(), "catalog", versions, wait_s=wait_s)
    except ImagineoError as problem:
        raise _failed(problem) from problem


@cli.command()
def seed(
    directory: Annotated[Path, typer.Argument(help="A folder with base/ and loras/loras.json.")],
    *,
    with_unshared: Annotated[bool, typer.Option(help="Also add the LoRAs marked as not shared.")] = False,
) -> None:
    """Add a folder's base model and LoRAs, or renew them; ids stay."""
    base_model, loras = _with_seeder(lambda seeder: seeder.seed(directory, with_unshared=with_unshared))
    typer.echo(f"{base_model.base_model_id} {base_model.slug}")
    for lora in loras:
        typer.echo(f"{lora.model_id} {lora.name}")


@cli.command()
def add_base_model(
    source: Annotated[str, typer.Argument(help="A diffusers directory, or a hub id such as owner/name.")],
    *,
    slug: Annotated[str, typer.Option(help="Short name; as the directory says if left out.")] = "",
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    description: Annotated[str, typer.Option(help="Description for people.")] = "",
    license_: Annotated[str, typer.Option("--license", help="SPDX expression or a sentence.")] = "",
    revision: Annotated[str, typer.Option(help="The hub's revision.")] = "",
) -> None:
    """Add a base model, or renew the one of the same slug."""
    overrides = {"slug": slug, "name": name, "description": description, "license": license_}

    async def add(seeder: Seeder) -> Any:
        return await seeder.add_base_model(Path(source), **overrides)

    async def add_from_hub(seeder: Seeder) -> Any:
        if not _HUB_ID.fullmatch(source):
            raise FailedPrecondition(f"There is no directory '{source}', and it is no hub id such as owner/name.")
        overrides["name"] = name or source
        overrides["slug"] = slug or source.rpartition("/")[2].lower().replace(".", "-").replace("_", "-")
        with hub.opened(source, revision) as model:
            return await seeder.add_base_model(model.directory, model, **overrides)

    base_model = _with_seeder(add if Path(source).exists() else add_from_hub)
    typer.echo(f"{base_model.base_model_id} {base_model.slug}")


@cli.command()
def add_lora(
    file: Annotated[Path, typer.Argument(help="A safetensors file.")],
    *,
    base: Annotated[str, typer.Option(help="The slug of the base model that it adapts.")],
    name: Annotated[str, typer.Option(help="Name for people; the file's if left out.")] = "",
    description: Annotated[str, typer.Option(help="Description for people.")] = "",
    trigger: Annotated[list[str] | None, typer.Option(help="A word that wakes it; may be repeated.")] = None,
    organization_id: Annotated[str, typer.Option(help="The account that owns it; left out: shared with all.")] = "",
) -> None:
    """Add a LoRA; each call makes a new one, whatever the file is called. Only `seed` renews."""

    async def add(seeder: Seeder) -> Any:
        entry = LoraEntry(
            file=file.name, name=name or file.stem, description=description, trigger_words=tuple(trigger or ())
        )
        return await seeder.add_lora(file, entry, await seeder.find_base(base), organization_id=organization_id)

    lora = _with_seeder(add)
    typer.echo(f"{lora.model_id} {lora.name}")


@cli.command()
def remove_lora(model_id: Annotated[str, typer.Argument(help="model_…, as `GET /v1/models` names it.")]) -> None:
    """Remove a LoRA, whosever it is. `seed` brings back what its folder has."""
    _with_seeder(lambda seeder: seeder.remove_lora(model_id))
    typer.echo(f"{model_id} is removed")


def _with_seeder(command: Callable[[Seeder], Awaitable[Answer]]) -> Answer:
    settings = _settings()

    async def run() -> Answer:
        async with app.seeder(settings) as seeder:
            return await command(seeder)

    try:
        return asyncio.run(run())
    except (ImagineoError, ValueError) as problem:
        raise _failed(problem) from problem


def _settings() -> CatalogSettings:
    try:
        settings = read(CatalogSettings, os.environ, prefix="IMAGINEO_CATALOG_")
    except SettingsError as problem:
        raise _failed(problem) from problem
    logs.configure("catalog", settings.log_level)
    return settings


def _failed(problem: Exception) -> typer.Exit:
    typer.echo(str(problem), err=True)
    return typer.Exit(code=1)


if __name__ == "__main__":
    cli()
