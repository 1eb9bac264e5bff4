"""The one thread that owns torch and the device: work is handed in from the event loop and answered there.

It is a daemon: a step that hangs in native code cannot keep the process from ending.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class DeviceThread:
    """Runs functions one after another in one thread."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._began_s: float | None = None
        self._thread = threading.Thread(target=self._loop, name="device", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """For how long the work at hand has been done. From any thread."""
        began_s = self._began_s
        return 0.0 if began_s is None else time.perf_counter() - began_s

    @property
    def is_alive(self) -> bool:
        """Whether there is somebody to do the work. From any thread."""
        return self._thread.is_alive()

    async def run(self, function: Callable[[], Result]) -> Result:
        """Await `function()` on the thread. A cancelled call drops work not begun; begun work runs to its end."""
        return await asyncio.wrap_future(self.submit(function))

    def submit(self, function: Callable[[], Result]) -> Future[Result]:
        """Have `function()` called on the thread. From any thread."""
        future: Future[Result] = Future()
        self._work.put((future, function))
        return future

    async def close(self) -> None:
        """End the thread after the work that waits."""
        self._work.put(None)
        await asyncio.to_thread(self._thread.join, 5.0)

    def _loop(self) -> None:
        self._prepare()
        while (item := self._work.get()) is not None:
            future, function = item
            if not future.set_running_or_notify_cancel():
                continue
            self._began_s = time.perf_counter()
            try:
                result = function()
            except BaseException as problem:  # noqa: BLE001 - it travels to whoever awaits
                self._began_s = None
                future.set_exception(problem)
            else:
                self._began_s = None
                future.set_result(result)
                del result
            # Nothing of the finished work may stay alive while the thread waits for more.
            del item, future, function
