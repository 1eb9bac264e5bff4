"""What every service's `__main__` needs: an event loop on uvloop, a stop event set by SIGTERM, the ports file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable
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
