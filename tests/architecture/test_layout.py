"""The layout's promises: tests mirror the source, modules say what they own, the README's commands exist."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("libs/imagineo", "libs/sdks", "libs/starter", "services", "deploy")
# A process's own entry, the one module of a client that looks for its key, and the program of the chart's test.
ENTRIES = {"__main__.py", "environment.py", "draw.py"}
# Only a process's own entry may look at the environment; the rest is told.
ENVIRONMENT_READERS = re.compile(r"\bos\.(environ|getenv)\b")
# What a finished product does not hold: loose ends, and the places and tools of whoever wrote it.
FORBIDDEN = re.compile(
    r"\bTODO\b|\bFIXME\b|\bXXX\b|NotImplementedError\(\)|(?<![\w./])/(work|tmp|root|home)/\w|\bimagineo-plan\b"
)
FORBIDDEN_IN = {".py", ".md", ".sql", ".proto", ".toml", ".yaml", ".yml", ""}


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository, those not yet committed included; git's ignored ones are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := REPOSITORY / line).is_file()]


def modules() -> list[Path]:
    return [
        path for path in tracked(*(f"{source}/**/*.py" for source in SOURCES)) if "libs/imagineo/v1" not in str(path)
    ]


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def test_every_module_opens_by_saying_what_it_is() -> None:
    silent = [relative(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]

    assert not [path for path in silent if not path.endswith("__init__.py") or (REPOSITORY / path).read_text().strip()]


def test_unit_tests_stand_where_their_source_stands() -> None:
    """`tests/unit/services/auth/…` holds those of `services/auth/…`, `tests/unit/imagineo/…` of `libs/imagineo`."""
    homes = {"imagineo": "libs/imagineo", "sdks": "libs/sdks", "starter": "libs/starter"}
    lost = set()
    for path in tracked("tests/unit/**/test_*.py"):
        first, *rest = path.parent.relative_to(REPOSITORY / "tests" / "unit").parts
        home = REPOSITORY.joinpath(homes.get(first, first), *rest)
        if not home.is_dir() and not home.with_suffix(".py").is_file():
            lost.add(relative(path))

    assert not lost


def test_only_entries_read_the_environment() -> None:
    readers = [
        relative(path)
        for path in modules()
        if path.name not in ENTRIES and not {"starter", "examples"} & set(path.parts) and _reads_environment(path)
    ]

    assert not readers


def _reads_environment(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and ENVIRONMENT_READERS.fullmatch(ast.unparse(node))
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_files_hold_no_loose_ends_and_no_places_of_their_authors() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in tracked()
        if path.suffix in FORBIDDEN_IN and path != Path(__file__) and "/weights/" not in str(path)
        for number, line in enumerate(path.read_text(errors="ignore").splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]

    assert not found


@pytest.mark.parametrize("page", ["README.md", "deploy/README.md"])
def test_every_make_command_of_a_readme_is_a_target(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9 _-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    names = {name for group in targets for name in group.split()}

    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", (REPOSITORY / page).read_text()))

    assert named
    assert named <= names


def test_every_path_that_a_readme_links_to_is_there() -> None:
    broken = [
        f"{relative(page)} -> {target}"
        for page in tracked("*.md")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert not broken


@pytest.mark.parametrize("folder", ["deploy", "libs", "protos", "services", "tests"])
def test_every_top_folder_has_a_map_of_at_most_a_screen(folder: str) -> None:
    assert 5 <= len((REPOSITORY / folder / "README.md").read_text().splitlines()) <= 50


def test_make_prints_a_line_for_every_target() -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    targets = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)

    assert targets
    for name in targets[1].replace("\\\n", " ").split():
        assert f"make {name} " in printed.stdout
