"""Ends the process where the device hangs, is broken, or the event loop stands still: only a new process heals it.

A step in native code cannot be interrupted: the leases then lapse, the deliveries come again, and whoever restarts the
process gives its place a new worker. Two eyes: a task that looks at the engine, and a timer of the interpreter's own
that needs neither the loop nor its lock. A broken device answers its runs, so that there the worker can end in order.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
from collections.abc import Callable
from typing import Final

from services.worker.engine.base import Engine

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25


async def watch(
    engine: Engine,
    limit_s: float,
    *,
    on_hang: Callable[[], None],
    on_broken: Callable[[], None],
    look_s: float = LOOK_S,
) -> None:
    """Look at the engine until cancelled.

    `on_hang` is called once it has been at one piece of work for too long, `on_broken` at each look at a broken device.
    """
    try:
        while True:
            busy_s = engine.busy_s
            if busy_s > limit_s:
                log.critical("the device hangs since %.0f s; the worker ends", busy_s)
                on_hang()
                return
            if engine.is_broken:
                on_broken()
            # Fires, with a traceback of every thread, unless it is set anew: then the loop itself stands still.
            faulthandler.dump_traceback_later(limit_s + look_s, exit=True, file=2)
            await asyncio.sleep(look_s)
    finally:
        faulthandler.cancel_dump_traceback_later()
