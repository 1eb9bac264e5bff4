"""Prints one JSON object a line, machine and versions first, and keeps the lines under `.imagineo/bench/`."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

#: Packages whose versions decide the figures.
_PACKAGES = ("grpcio", "nats-py", "asyncpg", "starlette", "uvicorn", "torch", "diffusers", "peft")


class Report:
    """The lines of one benchmark."""

    def __init__(self, name: str, folder: Path = Path(".imagineo/bench")) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.jsonl"
        self._file = self.path.open("w")
        self._write({"machine": _machine(), "versions": {package: version(package) for package in _PACKAGES}})

    def figure(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        aim: float | None = None,
    ) -> None:
        """Print a figure and whether it holds what it must; without a bound it is for information."""
        must = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}" if at_most is not None else None
        holds = None
        if at_least is not None:
            holds = value >= at_least
        elif at_most is not None:
            holds = value <= at_most
        self._write({"name": name, "value": round(value, 4), "unit": unit, "must": must, "aim": aim, "holds": holds})

    def _write(self, line: dict[str, object]) -> None:
        text = json.dumps(line)
        print(text, flush=True)
        self._file.write(text + "\n")
        self._file.flush()


def _machine() -> dict[str, object]:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }
