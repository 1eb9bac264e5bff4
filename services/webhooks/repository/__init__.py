"""Stores endpoints and deliveries: a module for each noun, its SQL in `../sql`. Rules are decided elsewhere."""

from __future__ import annotations

from pathlib import Path

from imagineo.postgres.queries import load


def queries(name: str) -> dict[str, str]:
    """Load the SQL file of one module."""
    return load(Path(__file__).parent.parent / "sql" / f"{name}.sql")
