"""One child process: how it is started so that it can neither outlive us nor be confused with another, and how it ends.

What runs and when is `parts.py` and `supervisor.py`; nothing here knows the platform.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LIBC: Final = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: a child only calls it


async def _at_once(_child: Child) -> bool:
    return True


@dataclass(frozen=True)
class Program:
    """What to run. `ready` tells whether a started child serves; it is asked again and again and must answer fast."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[Child], Awaitable[bool]] = _at_once
    before_start: Callable[[], None] = lambda: None
    user_id: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL  # sent by the kernel when the supervisor is gone
    stop_grace_s: float = 8.0


class Child:
    """A started program. One per start: a restart makes a new one. To be used from the thread that made it."""

    def __init__(self, program: Program) -> None:
        program.before_start()
        self.program = program
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            self._process = subprocess.Popen(
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends its children in order
                user=program.user_id,
                group=program.user_id,
                extra_groups=None if program.user_id is None else [],
                preexec_fn=_tie_to_parent(os.getpid(), program.orphan_signal),  # noqa: PLW1509 - two system calls
            )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.poll()

    async def exited(self) -> int:
        """Wait until it has ended. Cancellation leaves the child as it is."""
        if (code := self._process.poll()) is not None:
            return code
        descriptor = os.pidfd_open(self.pid)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self._process.wait()

    async def serving(self, within_s: float) -> bool:
        """Wait until the program says that it is ready; False if it ended before or took too long."""
        try:
            async with asyncio.timeout(within_s):
                while self.exit_code is None:
                    if await self.program.ready(self):
                        return True
                    await asyncio.sleep(0.03)
        except TimeoutError:
            pass
        return False

    async def stop(self) -> None:
        """End it: politely, then after its grace by force. A stopped (SIGSTOP) child is woken so that it can obey."""
        self._send(self.program.stop_signal)
        self._send(signal.SIGCONT)
        try:
            async with asyncio.timeout(self.program.stop_grace_s):
                await self.exited()
        except TimeoutError:
            self.kill()
            await self.exited()
        self._send_to_group(signal.SIGKILL)

    def kill(self) -> None:
        """End it by force, and what it started in its group."""
        self._send(signal.SIGKILL)
        self._send_to_group(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            self._process.send_signal(number)

    def _send_to_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # the group is gone, or its number belongs to somebody else by now


def adopt_orphans() -> frozenset[int]:
    """Make grandchildren whose parent died (Postgres backends) our children, so that none is out of reach.

    Gives the children that were there before: they are somebody else's, and no orphans.
    """
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return frozenset(_children_of(os.getpid()))


def end_orphans(known_pids: frozenset[int]) -> None:
    """Kill and reap the children that we adopted. `known_pids` are the children that somebody here waits for."""
    for pid in _children_of(os.getpid()) - known_pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def _children_of(parent: int) -> set[int]:
    tasks = Path(f"/proc/{parent}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def _tie_to_parent(parent: int, orphan_signal: signal.Signals) -> Callable[[], None]:
    def tie() -> None:
        # After the change of user, which would undo it. The parent may have died between fork and prctl.
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie
