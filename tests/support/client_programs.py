"""Programs of the Python client as a person starts them: the command line, examples, snippets of the README."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "libs" / "sdks" / "python"
WITHIN_S = 100.0


def environment(folder: Path, url: str = "", key: str = "", **more: str) -> dict[str, str]:
    """What such a program finds: nothing of this process's own settings."""
    found = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(CLIENT / "src"), "COLUMNS": "120"}
    found |= {"IMAGINEO_CONFIG": str(folder / "config.toml")}
    found |= {name: value for name, value in {"IMAGINEO_URL": url, "IMAGINEO_API_KEY": key}.items() if value}
    return {**found, **more}


def ran(
    *arguments: str, cwd: Path, env: Mapping[str, str], python: str = sys.executable, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """A Python program, run to its end."""
    return subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env=dict(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def imagineo(*arguments: str, cwd: Path, env: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command of the command line."""
    return ran("-m", "imagineo_client", *arguments, cwd=cwd, env=env, stdin=stdin)
