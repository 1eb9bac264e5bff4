"""Readiness: which of a service's dependencies answer, each by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from imagineo.telemetry.probes import Probes

log = logging.getLogger(__name__)

#: How soon it is seen that a dependency went or came back.
_LOOK_S = 1.0

#: A dependency that does not answer in this many seconds counts as away.
CHECK_TIMEOUT_S = 2.0


class Readiness:
    """Asks every dependency side by side. A check is a coroutine function that raises while its dependency is away.

    Those named `optional` are shown like the others, but the service is ready without them.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]], *, optional: Iterable[str] = ()) -> None:
        self._checks = dict(checks)
        self.required = frozenset(checks) - frozenset(optional)

    async def problems(self) -> dict[str, str]:
        """Name each dependency that is away, with the reason."""
        answers = await asyncio.gather(*(self._problem(check) for check in self._checks.values()))
        return {name: problem for name, problem in zip(self._checks, answers, strict=True) if problem}

    @property
    def names(self) -> tuple[str, ...]:
        """The dependencies, in the order given."""
        return tuple(self._checks)

    async def watch(self, probes: Probes, changed: Callable[[bool], Awaitable[None]] | None = None) -> None:
        """Keep `/readyz` true, and call `changed` with whether the service is ready; run it as a task."""
        known: dict[str, str] | None = None
        while True:
            problems = await self.problems()
            probes.show({name: name not in problems for name in self._checks}, self.required)
            if problems.keys() != (known.keys() if known is not None else None):
                is_ready = not self.required & problems.keys()
                said = f"ready without: {problems}" if problems else "ready"
                log.info("%s", said) if is_ready else log.warning("not ready: %s", problems)
                if changed:
                    await changed(is_ready)
                known = problems
            await asyncio.sleep(_LOOK_S)

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
