"""Which of the driver's errors say that the server is away, and which that the caller is wrong."""

from __future__ import annotations

import asyncpg
import pytest
from imagineo.errors import Unavailable
from imagineo.postgres.pool import mapped_errors


@pytest.mark.parametrize(
    "problem",
    [
        ConnectionRefusedError(),
        FileNotFoundError("no such socket"),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.ConnectionFailureError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.AdminShutdownError(),
        asyncpg.CrashShutdownError(),
        asyncpg.QueryCanceledError(),
        asyncpg.TooManyConnectionsError(),
        asyncpg.DiskFullError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.SerializationError(),
        asyncpg.LockNotAvailableError(),
        asyncpg.ReadOnlySQLTransactionError(),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_trouble_with_the_server_is_unavailable_and_keeps_its_cause(problem):
    with pytest.raises(Unavailable) as mapped, mapped_errors():
        raise problem
    assert mapped.value.__cause__ is problem
    assert mapped.value.metadata == {"dependency": "postgres"}


@pytest.mark.parametrize(
    "problem",
    [
        asyncpg.UniqueViolationError(),
        asyncpg.UndefinedTableError(),
        asyncpg.RaiseError(),
        asyncpg.DataError("invalid input for query argument $1"),
        asyncpg.InterfaceError("the server expects 1 argument for this query, 2 were passed"),
        KeyError("the caller's own"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_what_the_caller_did_wrong_passes_unchanged(problem):
    with pytest.raises(type(problem)) as passed, mapped_errors():
        raise problem
    assert passed.value is problem
