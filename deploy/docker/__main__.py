"""The images' command line: `lock`, `build` and `sbom`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from deploy.docker import locks
from deploy.docker.images import IMAGES, USUAL, Builder
from deploy.docker.locks import EXTRAS, REPOSITORY

_FOLDER: Final = REPOSITORY / ".imagineo" / "images"
_Lock = Annotated[list[str] | None, typer.Argument(help="control, worker; default: both.")]
_Image = Annotated[list[str] | None, typer.Argument(help="control, worker, worker-compile; default: the first two.")]

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _chosen(images: list[str] | None, known: Collection[str]) -> Sequence[str]:
    for image in images or ():
        if image not in known:
            raise typer.BadParameter(f"no such image: {image}; there are {', '.join(known)}")
    return images or USUAL


@cli.command()
def lock(
    images: _Lock = None,
    *,
    upgrade: Annotated[bool, typer.Option(help="Take newer versions.")] = False,
    cpu: Annotated[bool, typer.Option(help="The worker's with PyTorch for CPUs, into worker-cpu.lock.")] = False,
    find_links: Annotated[str, typer.Option(help="With --cpu: where that wheel lies, if not at PyTorch's index.")] = "",
) -> None:
    """Resolve the lock files anew; versions that fit stay."""
    if cpu:
        locks.resolve_for_cpu(upgrade=upgrade, find_links=find_links)
        return
    for image in _chosen(images, EXTRAS):
        locks.resolve(image, locks.lock_path(image), upgrade=upgrade)


@cli.command()
def build(
    images: _Image = None,
    *,
    worker_lock: Annotated[Path | None, typer.Option(help="Another lock file for the worker, in this folder.")] = None,
    folder: Annotated[Path, typer.Option(help="Storage, base and wheels.")] = _FOLDER,
) -> None:
    """Build images without a container engine, and write what each holds to FOLDER/<image>.cdx.json."""
    builder = Builder(folder)
    for image in _chosen(images, IMAGES):
        typer.echo(builder.build(image, worker_lock if IMAGES[image] == "worker" else None))
        builder.sbom(image, folder / f"{image}.cdx.json")


if __name__ == "__main__":
    cli()
