"""The protocol: buf's style, wire compatibility with the last commit, and that the generated code is the protos'."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROTOS = REPOSITORY / "protos"
SCRIPTS = Path(sysconfig.get_path("scripts"))


def run(*command: str | Path, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    path = f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )


def test_the_protos_follow_the_style_and_every_element_is_commented() -> None:
    done = run(SCRIPTS / "buf", "lint", PROTOS)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_protos_are_formatted() -> None:
    done = run(SCRIPTS / "buf", "format", "--diff", "--exit-code", PROTOS)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_protos_break_nobody_who_speaks_those_of_the_commit_before(tmp_path: Path) -> None:
    """Against the last commit, or where the files are as committed against the one before it."""
    changed = run("git", "diff", "--quiet", "HEAD", "--", "protos").returncode != 0
    against = "HEAD" if changed else "HEAD~1"
    archive = tmp_path / "before.tar"
    if run("git", "archive", "-o", archive, against, "protos").returncode != 0:
        pytest.skip("there is no commit before to compare with")

    done = run(SCRIPTS / "buf", "breaking", PROTOS, "--against", f"{archive}#format=tar,subdir=protos")

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_generated_code_is_what_the_protos_give(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    protos = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))

    done = run(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *outputs, *protos)

    assert done.returncode == 0, done.stderr
    fresh = {path.name: path.read_text() for path in (tmp_path / "imagineo" / "v1").iterdir()}
    home = REPOSITORY / "libs" / "imagineo" / "v1"
    committed = {path.name: path.read_text() for path in home.iterdir() if "_pb2" in path.name}
    assert sorted(fresh) == sorted(committed)
    assert [name for name in fresh if fresh[name] != committed[name]] == [], "run `make protos`"
