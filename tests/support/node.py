"""Node and npm, which come in a wheel: programs of the TypeScript client, run to their end."""

from __future__ import annotations

import os
import shutil
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
        env={**os.environ, "PATH": PATH, **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def installed(folder: Path) -> Path:
    """A copy of the client's folder and of what it is generated from, with the packages that its lock file names."""
    copy = folder / "typescript"
    shutil.copytree(TYPESCRIPT, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "*.tgz"))
    shutil.copy(TYPESCRIPT.parent / "openapi.json", folder)
    ran("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=copy, within_s=240)
    return copy
