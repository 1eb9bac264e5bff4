"""What the local folder does on the way to a durable write: which syncs happen, in which order, and what is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from imagineo.blobs import folder


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record syncs and renames as the system sees them; they are still done."""
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor: int) -> None:
        seen.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name.partition("#")[0])
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> Path:
        seen.append("rename " + target.name)
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    return seen


def test_contents_are_synced_before_the_rename_and_the_name_after_it(tmp_path: Path, steps: list[str]):
    root = tmp_path / "store"
    root.mkdir()
    folder.put_bytes(root, "a/b/c.png", b"x")
    assert steps == ["sync store", "sync a", "sync c.png", "rename c.png", "sync b"]
    steps.clear()
    folder.put_bytes(root, "a/b/c.png", b"y")
    assert steps == ["sync c.png", "rename c.png", "sync b"]


def test_a_deletion_is_synced_and_takes_empty_folders_along(tmp_path: Path, steps: list[str]):
    folder.put_bytes(tmp_path, "a/b/c", b"x")
    folder.put_bytes(tmp_path, "a/d", b"x")
    steps.clear()
    folder.delete(tmp_path, "a/b/c")
    assert steps == ["sync b"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "d"]
    folder.delete(tmp_path, "a/d")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_is_given_up_leaves_nothing(tmp_path: Path):
    staged = folder.Staged(tmp_path, "a/b")
    staged.write(b"half")
    staged.abort()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
