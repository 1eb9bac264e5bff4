"""Ends the process where the device hangs or the event loop stands still: a step in native code cannot be interrupted.

The leases then lapse, the deliveries come again, and whoever restarts the process gives its place a new worker. Two
eyes: a task that looks at the engine, and a timer of the interpreter's own that needs neither the loop nor its lock.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
from collections.abc import Callable
from typing import Final

from services.worker.engine.base import Engine

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0


async def watch(engine: Engine, limit_s: float, on_hang: Callable[[], None], *, look_s: float = LOOK_S) -> None:
    """Look at the engine until cancelled; `on_hang` is called once it has been at one piece of work for too long."""
    try:
        while True:
            busy_s = engine.busy_s
            if busy_s > limit_s:
                log.critical("the device hangs since %.0f s; the worker ends", busy_s)
                on_hang()
                return
            # Fires, with a traceback of every thread, unless it is set anew: then the loop itself stands still.
            faulthandler.dump_traceback_later(limit_s + look_s, exit=True, file=2)
            await asyncio.sleep(look_s)
    finally:
        faulthandler.cancel_dump_traceback_later()
