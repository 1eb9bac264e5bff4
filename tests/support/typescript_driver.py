"""The conformance suite's hand in TypeScript: one node program that plays scenario after scenario."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.node import PATH

#: A bound on one scenario, not a wait.
WITHIN_S = 100.0


class TypescriptDriver:
    """Its program. A scenario that breaks it is told with what it printed."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program

    def play(self, told: dict[str, Any]) -> dict[str, Any]:
        """Give a scenario's result, or its error as far as it is the client's."""
        asked, given = self._program.stdin, self._program.stdout
        assert asked is not None
        assert given is not None
        asked.write(json.dumps(told) + "\n")
        asked.flush()
        watchdog = threading.Timer(WITHIN_S, self._program.kill)
        watchdog.start()
        try:
            printed = given.readline()
        finally:
            watchdog.cancel()
        assert printed, f"{told['scenario']} ended the driver:\n{self._last_words()}"
        answer: dict[str, Any] = json.loads(printed)
        return answer

    def _last_words(self) -> str:
        assert self._program.stderr is not None
        return self._program.stderr.read()


@contextlib.contextmanager
def typescript_driver(folder: Path) -> Iterator[TypescriptDriver]:
    """The driver over the sources in a folder."""
    command = ["node", "--no-warnings", "tests/driver.mjs"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=folder, env={**os.environ, "PATH": PATH}, text=True, **pipes) as program:
        try:
            yield TypescriptDriver(program)
        finally:
            program.kill()
