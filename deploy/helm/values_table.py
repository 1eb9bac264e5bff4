"""Writes the table of values in the chart's README: `python -m deploy.helm.values_table`; with `--check` only looks.

A value's description is the `# -- …` comment above it. A map whose own line has one is a row as a whole.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parent / "imagineo"
_BEGIN: Final = "<!-- values: written by deploy/helm/values_table.py -->\n"
_END: Final = "<!-- end of values -->"
_KEY: Final = re.compile(r"( *)([A-Za-z]\w*):")
_LONGEST_DEFAULT: Final = 60


def rows(text: str) -> Iterator[tuple[str, Any, str]]:
    """Each described value of `values.yaml`: its path, its default, its description."""
    values = yaml.safe_load(text)
    above: list[tuple[int, str]] = []
    said = ""
    for line in text.splitlines():
        if line.lstrip().startswith("# -- "):
            said = line.strip().removeprefix("# -- ")
        elif found := _KEY.match(line):
            indent, key = len(found[1]), found[2]
            above = [(depth, name) for depth, name in above if depth < indent] + [(indent, key)]
            path = [name for _, name in above]
            value = _at(values, path)
            if said:
                yield ".".join(path), value, said
            said = ""


def table(text: str) -> str:
    """The rows as Markdown."""
    lines = ["| value | default | |", "| --- | --- | --- |"]
    for path, value, said in rows(text):
        shown = json.dumps(value)
        default = f"`{shown}`" if len(shown) <= _LONGEST_DEFAULT else "see `values.yaml`"
        lines.append(f"| `{path}` | {default} | {said.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str, values: str) -> str:
    """The README with the table of these values."""
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table(values)}\n{_END}{after}"


def main(arguments: list[str]) -> int:
    """Write the README anew, or tell whether it would change."""
    path = CHART / "README.md"
    before = path.read_text()
    after = with_table(before, (CHART / "values.yaml").read_text())
    if "--check" in arguments:
        return int(before != after)
    path.write_text(after)
    return 0


def _at(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values[name]
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
