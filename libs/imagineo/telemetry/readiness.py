"""Readiness: which of a service's dependencies answer, each by name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

#: A dependency that does not answer in this many seconds counts as away.
CHECK_TIMEOUT_S = 2.0


class Readiness:
    """Asks every dependency side by side. A check is a coroutine function that raises while its dependency is away."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._checks = dict(checks)

    async def problems(self) -> dict[str, str]:
        """Name each dependency that is away, with the reason; empty when the service is ready."""
        answers = await asyncio.gather(*(self._problem(check) for check in self._checks.values()))
        return {name: problem for name, problem in zip(self._checks, answers, strict=True) if problem}

    @property
    def names(self) -> tuple[str, ...]:
        """The dependencies, in the order given."""
        return tuple(self._checks)

    @staticmethod
    async def _problem(check: Callable[[], Awaitable[object]]) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await check()
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT_S:g} s"
        except Exception as problem:  # noqa: BLE001 - whatever it raises, the dependency is away
            return str(problem) or type(problem).__name__
        return ""
