"""The TypeScript client: its generated types are those of the committed document, its style and types are clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node import TYPESCRIPT, ran

pytestmark = pytest.mark.timeout(400)  # the first one installs the compiler


def test_the_generated_types_are_those_of_the_document(typescript: Path) -> None:
    ran("npm", "run", "generate", cwd=typescript)

    assert (typescript / "src" / "openapi.ts").read_text() == (TYPESCRIPT / "src" / "openapi.ts").read_text()


def test_its_own_check_passes(typescript: Path) -> None:
    ran("npm", "run", "check", cwd=typescript, within_s=200)


def test_files_are_small_enough_to_be_read() -> None:
    folders = (TYPESCRIPT / name for name in ("src", "tests", "examples"))
    own = [path for folder in folders for path in folder.glob("*.ts") if path.name != "openapi.ts"]
    large = {path.name: count for path in own if (count := len(path.read_text().splitlines())) > 300}

    assert len(own) > 30
    assert not large
