"""Stores runs in Postgres: a module for each noun, its SQL in `../sql`. Rules are decided elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
from imagineo.errors import InvalidParameter
from imagineo.postgres.queries import load

_UNHOLDABLE: Final = (
    asyncpg.DataError,  # a NUL in a text, a number out of its range; found here or by the server
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,  # a text too long for its index
    OverflowError,
)


@contextlib.contextmanager
def refused_data() -> Iterator[None]:
    """Turn what the database cannot hold into `InvalidParameter`, so that nobody tries it for ever."""
    try:
        yield
    except _UNHOLDABLE as problem:
        raise InvalidParameter.of("run", "what the database can hold") from problem


def queries(name: str) -> dict[str, str]:
    """Load the SQL file of one module."""
    return load(Path(__file__).parent.parent / "sql" / f"{name}.sql")
