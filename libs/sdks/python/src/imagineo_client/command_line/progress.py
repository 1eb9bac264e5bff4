"""Progress on stderr: of a run by its events, of a file by its bytes, of a batch by its items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from imagineo_client.sync.runs import Run


def follow(run: Run, timeout_s: float | None, *, hidden: bool) -> None:
    """Show a run's way until it is over, or so long."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as shown:
        task = shown.add_task("queued", total=100, note="")
        for event in run.events(timeout_s=timeout_s):
            if (generation := event.generation) is not None:
                left = f"about {generation.estimated_time} s left" if not event.is_over else ""
                waits = generation.waiting_for or left
                shown.update(task, completed=generation.progress, description=generation.status, note=waits)


@contextmanager
def sending(name: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a file is sent; gives what to tell."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as shown:
        task = shown.add_task(name, total=None)
        yield lambda sent_bytes, total_bytes: shown.update(task, completed=sent_bytes, total=total_bytes)


@contextmanager
def counting(name: str, total: int, *, hidden: bool) -> Iterator[Callable[[], None]]:
    """Show how many of a batch are over; gives what to call for each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as shown:
        task = shown.add_task(name, total=total)
        yield lambda: shown.advance(task)
