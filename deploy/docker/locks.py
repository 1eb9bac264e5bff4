"""The lock files: every package of an image with its version and the digests of its files, resolved by uv."""

from __future__ import annotations

import re
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
#: Of a worker that draws on the CPU: a tenth of the size. It is made where it is wanted, by `lock --cpu`.
CPU_LOCK: Final = FOLDER / "worker-cpu.lock"
# Debian bookworm's Python, and its C library.
_TARGET: Final = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")


def lock_path(image: str) -> Path:
    """Where an image's lock file lies."""
    return FOLDER / f"{image}.lock"


def resolve(image: str, target: Path, *, upgrade: bool = False, options: Sequence[str] = ()) -> None:
    """Write an image's lock file to `target`; versions that stand there and still fit stay, unless `upgrade`.

    `options` are further ones of `uv pip compile`, such as which build of PyTorch is wanted.

    Raises:
        subprocess.CalledProcessError: if no versions fit together, or the package index cannot be reached.
    """
    wanted: Sequence[str] = [option for extra in EXTRAS[image] for option in ("--extra", extra)]
    changes = ["--upgrade"] if upgrade else []
    places = ["--constraint", str(FOLDER / "constraints.txt"), "--output-file", str(target)]
    style = ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command = ["uv", "pip", "compile", "pyproject.toml", *wanted, *_TARGET, *style, *changes, *places, *options]
    subprocess.run(command, cwd=REPOSITORY, check=True)


def resolve_for_cpu(*, upgrade: bool = False, find_links: str = "") -> None:
    """Write the lock file of a worker that draws on the CPU: the worker's, but for PyTorch and what it brings for GPUs.

    The wheel comes from PyTorch's own index, or from `find_links`, a folder or a page of links.
    """
    other = re.sub(r"^torch==.*\n(?: .*\n)*", "", lock_path("worker").read_text(), flags=re.MULTILINE)
    CPU_LOCK.write_text(other)
    options = ("--find-links", find_links) if find_links else ("--torch-backend", "cpu")
    resolve("worker", CPU_LOCK, upgrade=upgrade, options=options)
