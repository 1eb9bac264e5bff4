"""The lock files: every package of an image with its version and the digests of its files, resolved by uv."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
REPOSITORY: Final = FOLDER.parents[1]
#: The extras of `pyproject.toml` that an image holds.
EXTRAS: Final = {
    "control": ("gateway", "auth", "catalog", "hub", "status", "webhooks", "tracing"),
    "worker": ("worker", "tracing"),
}
# Debian bookworm's Python, and its C library.
_TARGET: Final = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")


def lock_path(image: str) -> Path:
    """Where an image's lock file lies."""
    return FOLDER / f"{image}.lock"


def resolve(image: str, target: Path, *, upgrade: bool = False) -> None:
    """Write an image's lock file to `target`; versions that stand there and still fit stay, unless `upgrade`.

    Raises:
        subprocess.CalledProcessError: if no versions fit together, or the package index cannot be reached.
    """
    wanted: Sequence[str] = [option for extra in EXTRAS[image] for option in ("--extra", extra)]
    changes = ["--upgrade"] if upgrade else []
    places = ["--constraint", str(FOLDER / "constraints.txt"), "--output-file", str(target)]
    style = ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command = ["uv", "pip", "compile", "pyproject.toml", *wanted, *_TARGET, *style, *changes, *places]
    subprocess.run(command, cwd=REPOSITORY, check=True)
