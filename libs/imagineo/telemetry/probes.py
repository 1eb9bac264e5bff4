"""What whoever runs a process asks of it over HTTP, beside `/metrics`: does it live, has it begun, is it ready.

`/livez`     503 where the process can only be ended: its event loop, or a device, stands still
`/startupz`  503 until it has begun: it listens, and a worker has loaded its weights
`/readyz`    503 while it wants no requests: it drains, or something that it needs is away; every dependency is named

They are answered by a thread of their own from what was last seen, so that a loop that stands still is told, and a
dependency that hangs holds up no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

#: An event loop that has not run its timers for so long stands still.
STILL_S: Final = 30.0


class Probes:
    """The answers of one process. The loop's tasks write, the HTTP thread reads."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._beat_s = clock_s()
        self._alive: dict[str, Callable[[], str]] = {"event_loop": self._loop_problem}
        self._has_begun = False
        self._is_draining = False
        self._dependencies: dict[str, bool] | None = None
        self._required: frozenset[str] = frozenset()

    def beat(self) -> None:
        """Note that the event loop runs."""
        self._beat_s = self._clock_s()

    def watch(self, name: str, problem: Callable[[], str]) -> None:
        """Ask also this, from any thread, for a reason why the process should be ended; empty: none."""
        self._alive[name] = problem

    def begin(self) -> None:
        """Note that the process has begun its work."""
        self._has_begun = True

    def drain(self) -> None:
        """Want no more requests."""
        self._is_draining = True

    def show(self, dependencies: Mapping[str, bool], required: frozenset[str]) -> None:
        """Show which dependencies answer, and which of them are needed."""
        self._dependencies, self._required = dict(dependencies), required

    def answer(self, path: str) -> tuple[int, dict[str, Any]] | None:
        """Answer one question: a status and a JSON object; None where it is none of these."""
        match path:
            case "/livez":
                problems = {name: said for name, problem in self._alive.items() if (said := problem())}
                return (503 if problems else 200), {"alive": not problems, "problems": problems}
            case "/startupz":
                return (200 if self._has_begun else 503), {"started": self._has_begun}
            case "/readyz":
                return self._readiness()
        return None

    def _readiness(self) -> tuple[int, dict[str, Any]]:
        found = self._dependencies or {}
        is_ready = (
            self._has_begun
            and not self._is_draining
            and self._dependencies is not None
            and all(answers for name, answers in found.items() if name in self._required)
        )
        shown = {name: {"ok": answers, "required": name in self._required} for name, answers in found.items()}
        return (200 if is_ready else 503), {
            "ready": is_ready,
            "draining": self._is_draining,
            "dependencies": shown,
        }

    def _loop_problem(self) -> str:
        still_s = self._clock_s() - self._beat_s
        return f"the event loop has stood still for {still_s:.0f} s" if still_s > STILL_S else ""
