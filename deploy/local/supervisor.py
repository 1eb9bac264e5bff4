"""Keeps programs alive: starts them in order, starts again what dies, ends all of them in the reverse order.

It runs in one event loop; what the programs are stands in `parts.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from deploy.local.process import Child, Program, adopt_orphans, end_orphans

START_WITHIN_S: Final = 240.0  # a machine that does other work too; a program that ends is seen at once
_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_LAST_S: Final = 5.0


class StartError(Exception):
    """A program did not come up, or a command failed; the message holds the end of its log."""


class Supervisor:
    """The programs under watch. `say` tells a person; `changed` is called after each restart."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._groups: list[list[_Keeper]] = []
        self._commands: set[Child] = set()
        self._of_others = adopt_orphans()

    async def start(self, programs: list[Program]) -> None:
        """Start programs together, wait until all serve, and keep them so from then on.

        Raises:
            StartError: if one of them ends or is not ready in time.
        """
        keepers = [_Keeper(program, self._sweep, self._restarted) for program in programs]
        self._groups.append(keepers)
        await asyncio.gather(*(keeper.start() for keeper in keepers))
        for keeper in keepers:
            keeper.watch()

    async def run(self, program: Program) -> None:
        """Run a command to its end.

        Raises:
            StartError: if it fails.
        """
        child = Child(program)
        self._commands.add(child)
        try:
            code = await child.exited()
        finally:
            child.kill()
            self._commands.discard(child)
        if code != 0:
            raise StartError(_failure(program, f"failed with exit code {code}"))

    def pids(self) -> dict[str, int]:
        """The process of each program, as it is now."""
        return {keeper.program.name: keeper.pid for group in self._groups for keeper in group}

    async def stop(self) -> None:
        """End everything: the last started group first. Nothing is left when it returns."""
        keepers = [keeper for group in self._groups for keeper in group]
        for keeper in keepers:
            keeper.unwatch()
        for group in reversed(self._groups):
            await asyncio.gather(*(keeper.stop() for keeper in group))
        end_orphans(self._of_others)

    def kill(self) -> None:
        """End everything at once."""
        for child in self._children():
            child.kill()

    def _children(self) -> list[Child]:
        kept = [keeper.child for group in self._groups for keeper in group if keeper.child is not None]
        return [*kept, *self._commands]

    def _restarted(self, program: Program, reason: str) -> None:
        self._say(f"{program.name} {reason}; started again")
        self._changed()

    def _sweep(self) -> None:
        """End processes whose parent died and left them to us."""
        end_orphans(self._of_others | {child.pid for child in self._children()})


class _Keeper:
    """One program and its present process."""

    def __init__(self, program: Program, sweep: Callable[[], None], restarted: Callable[[Program, str], None]) -> None:
        self.program = program
        self._sweep = sweep
        self.child: Child | None = None
        self._restarted = restarted
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self.child.pid if self.child else 0

    async def start(self) -> None:
        self.child = Child(self.program)
        if not await self.child.serving(START_WITHIN_S):
            code = self.child.exit_code
            problem = f"ended with exit code {code}" if code is not None else f"was not ready in {START_WITHIN_S:.0f} s"
            raise StartError(_failure(self.program, problem))

    def watch(self) -> None:
        self._watch = asyncio.create_task(self._keep_alive(), name=f"keep {self.program.name}")

    def unwatch(self) -> None:
        if self._watch:
            self._watch.cancel()

    async def stop(self) -> None:
        if self.child:
            await self.child.stop()

    async def _keep_alive(self) -> None:
        """Start it again whenever it ends; the pause grows only while it does not come up."""
        pause_s = _BACKOFF_FIRST_S
        while self.child:
            code = await self.child.exited()
            self.child.kill()  # what is left of its group
            self._sweep()
            await asyncio.sleep(pause_s)
            self.child = Child(self.program)
            self._restarted(self.program, f"was killed by signal {-code}" if code < 0 else f"ended with code {code}")
            came_up = await self.child.serving(START_WITHIN_S)
            pause_s = _BACKOFF_FIRST_S if came_up else min(pause_s * 2, _BACKOFF_LAST_S)


def _failure(program: Program, problem: str) -> str:
    lines = program.log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join([f"{program.name} {problem}. The end of {program.log}:", *lines])
