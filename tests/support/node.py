"""Node and npm, which come in a wheel: programs of the TypeScript client, run to their end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TYPESCRIPT = REPOSITORY / "libs" / "sdks" / "typescript"
#: The packages of the virtual environment bring node and npm along.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def ran(
    *command: str, cwd: Path = TYPESCRIPT, within_s: float = 100.0, stdin: str = "", env: dict[str, str] | None = None
) -> str:
    """What a command prints; it must end well."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": PATH, "HOME": os.environ.get("HOME", "/"), **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
