"""Reads a service's SQL files: blocks headed `-- name: insert_run`, with comments below on locks and indexes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_HEADER: Final = re.compile(r"^--\s*name:\s*(\w+)\s*$", re.MULTILINE)


def load(path: Path) -> dict[str, str]:
    """Give the blocks of one file by name, comments kept: they show in the server's logs.

    Raises:
        ValueError: if statements stand above the first name, a name comes twice, or a block is empty.
    """
    preamble, *parts = _HEADER.split(path.read_text(encoding="utf-8"))
    if _without_comments(preamble):
        raise ValueError(f"{path}: a statement stands above the first `-- name:`")
    blocks: dict[str, str] = {}
    for name, block in zip(parts[::2], parts[1::2], strict=True):
        if name in blocks:
            raise ValueError(f"{path}: the name {name} comes twice")
        if not _without_comments(block):
            raise ValueError(f"{path}: {name} has no statement")
        blocks[name] = block.strip()
    return blocks


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()
