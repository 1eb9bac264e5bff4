"""Waiting that ends when the run's stop signal is set: for what comes before its first step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from services.worker.engine.base import DrawStopped, StopSignal

Result = TypeVar("Result")


async def unless_stopped(stop: StopSignal, work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work`, in a task of its own.

    Raises:
        DrawStopped: if `stop` is set before it is done; it is cancelled then.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with stop.calling(lambda: loop.call_soon_threadsafe(task.cancel)):
        try:
            return await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if stop.reason is None or (me is not None and me.cancelling()):
                raise
    raise DrawStopped
