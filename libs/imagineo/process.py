"""What every service's `__main__` needs: a loop that SIGTERM ends, background work, the ports file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import uvloop

log = logging.getLogger(__name__)


def run(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `serve(stop)` until it returns; the first SIGTERM or SIGINT sets `stop`, and `serve` drains and returns."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def write_ports(path: str, **ports: int) -> None:
    """Write the bound ports as one JSON object, atomically; an empty path writes nothing."""
    if not path:
        return
    draft = Path(f"{path}.{os.getpid()}")
    draft.write_text(json.dumps(ports))
    draft.replace(path)


#: How long background work rests after a failure that nobody foresaw.
_REST_S = 2.0


@contextlib.asynccontextmanager
async def background(*works: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run each of `works` while the block runs; what fails or ends is logged and starts again after a rest."""
    tasks = [asyncio.create_task(_kept(work)) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work failed and starts again in %g s", _REST_S)
        await asyncio.sleep(_REST_S)
